import { expect, test } from 'vitest'
import { receive } from '../../src/adapters/web.js'
import { createOutbox, type Outbox } from '../../src/client/outbox.js'
import { SseError } from '../../src/protocol/error.js'
import { memoryReceipts } from '../../src/stores/memory.js'
import { simulate, virtualClock } from '../../src/testing/index.js'
import { isAccounted } from '../client/outboxes.js'

const MESSAGES = 1_000
const LANES = 4

/**
 * A server that answers 503 to the first two attempts of every third message, whose every fifth answer is lost, and
 * that restarts twice.
 */
class Server {
  readonly clock = virtualClock()
  readonly effects: number[] = []
  /** What was handled and not answered when the server went, summed over its restarts. */
  unansweredAtRestart = 0
  readonly #attempts = new Map<number, number>()
  readonly #unanswered = new Set<number>()
  readonly #survive: boolean
  #receipts = memoryReceipts({ clock: this.clock })
  #handler = this.#begin()
  #requests = 0
  #handled = 0
  restarts = 0

  /** @param survive - whether the receipts outlive a restart. */
  constructor(survive: boolean) {
    this.#survive = survive
  }

  readonly fetch = simulate((request) => this.#answer(request), { clock: this.clock })

  #begin() {
    return receive(
      async (message) => {
        const { n } = message as { n: number }
        this.effects.push(n)
        return { n }
      },
      { receipts: this.#receipts, clock: this.clock },
    )
  }

  #restart(): void {
    this.restarts++
    this.unansweredAtRestart += this.#unanswered.size
    if (!this.#survive) this.#receipts = memoryReceipts({ clock: this.clock })
    this.#handler = this.#begin()
  }

  async #answer(request: Request): Promise<Response> {
    this.#requests++
    if (this.#requests === 600 || this.#requests === 1_300) this.#restart()
    const { n } = (await request.clone().json()) as { n: number }
    const attempt = (this.#attempts.get(n) ?? 0) + 1
    this.#attempts.set(n, attempt)
    if (n % 3 === 0 && attempt <= 2) return new Response(null, { status: 503 })
    const answer = await this.#handler(request)
    this.#handled++
    if (this.#handled % 5 === 0) {
      this.#unanswered.add(n)
      throw new TypeError('the answer is lost')
    }
    this.#unanswered.delete(n)
    return answer
  }
}

/** Sends all, as room appears, and returns how many the client was told of as accepted. */
async function sendAll(outbox: Outbox, server: Server): Promise<{ accepted: Set<number>; others: unknown[] }> {
  const accepted = new Set<number>()
  const others: unknown[] = []
  for (let n = 0; n < MESSAGES; ) {
    try {
      const at = n
      outbox.send({ n }, { lane: `lane ${n % LANES}` }).then(
        () => accepted.add(at),
        (error: unknown) => others.push(error),
      )
      n++
    } catch (error) {
      if (!(error instanceof SseError) || error.code !== 'OUTBOX_FULL') throw error
      await server.clock.advance(500)
    }
  }
  await server.clock.advance(1_200_000)
  return { accepted, others }
}

test('1,000 messages over 4 lanes have 1,000 effects, in order, when the receipts survive', {
  timeout: 60_000,
}, async () => {
  const server = new Server(true)
  const outbox = createOutbox('http://test/messages', { clock: server.clock, fetch: server.fetch, maxAgeMs: 3_600_000 })
  const { accepted, others } = await sendAll(outbox, server)
  expect(server.restarts).toBe(2)
  expect([accepted.size, others.length, server.effects.length]).toEqual([MESSAGES, 0, MESSAGES])
  for (let lane = 0; lane < LANES; lane++) {
    const ofLane = server.effects.filter((n) => n % LANES === lane)
    expect(ofLane).toEqual(Array.from({ length: MESSAGES / LANES }, (_, index) => index * LANES + lane))
  }
  expect(outbox.counters).toMatchObject({ enqueued: MESSAGES, accepted: MESSAGES, pending: 0 })
  await outbox.close()
  expect(server.clock.pending).toBe(0)
})

test('with receipts in memory, what is handled twice is at most what was unanswered at each restart, and nothing false is said', {
  timeout: 60_000,
}, async () => {
  const server = new Server(false)
  const outbox = createOutbox('http://test/messages', { clock: server.clock, fetch: server.fetch, maxAgeMs: 3_600_000 })
  const { accepted, others } = await sendAll(outbox, server)
  const distinct = new Set(server.effects)
  const duplicates = server.effects.length - distinct.size
  console.log(`outbox: ${duplicates} handled twice, ${server.unansweredAtRestart} unanswered at the two restarts`)
  expect(server.restarts).toBe(2)
  expect(duplicates).toBeLessThanOrEqual(server.unansweredAtRestart)
  expect([...accepted].filter((n) => !distinct.has(n))).toEqual([])
  expect([accepted.size, others.length, isAccounted(outbox)]).toEqual([MESSAGES, 0, true])
  await outbox.close()
  expect(server.clock.pending).toBe(0)
})
