import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Clock } from '../../src/protocol/clock.js'
import { ReceiptBook } from '../../src/protocol/receipt-book.js'
import type { Lease, Receipts } from '../../src/protocol/receipts.js'
import { Receiver } from '../../src/server/receive.js'
import type { Answer } from '../../src/server/serve.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { posted } from '../support/incoming.js'

const LEASE_MS = 100

/** One request: when it is sent, what it carries, how long the handler takes, how that ends, and when its client leaves. */
interface Sent {
  readonly at: number
  readonly scope: string
  readonly key: string
  readonly body: string
  readonly handleMs: number
  readonly outcome: 'answer' | 'throw'
  readonly leaveMs: number
}

interface Run extends Pick<Sent, 'scope' | 'key' | 'body'> {
  readonly from: number
  to: number
  /** Whether it had an effect. */
  effect: boolean
}

const sent = fc.record<Sent>({
  at: fc.nat(400),
  scope: fc.constantFrom('s', 't'),
  key: fc.constantFrom('k', 'l'),
  // Mostly the same, as a repetition is.
  body: fc.constantFrom('a', 'a', 'a', 'b'),
  handleMs: fc.oneof(fc.nat(60), fc.integer({ min: LEASE_MS - 2, max: LEASE_MS + 60 })),
  outcome: fc.constantFrom('answer', 'answer', 'throw'),
  leaveMs: fc.nat(300),
})
const schedule = fc.record({
  requests: fc.array(sent, { minLength: 1, maxLength: 25 }),
  /** How far away the receipts are, in turn: on the way there and back again. */
  distances: fc.array(fc.nat(20), { minLength: 1, maxLength: 10 }),
})

type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never

/** Plays a schedule in virtual time and checks what is promised of every one. */
async function check({ requests, distances }: Schedule, make: (clock: Clock) => Receipts<never>): Promise<void> {
  const clock = virtualClock()
  const sleep = (ms: number) => new Promise<void>((resolve) => clock.setTimeout(resolve, ms))
  const start = clock.now()
  const runs: Run[] = []
  const receiver = new Receiver<Sent, string, never>(
    async (body, { request: { scope, handleMs, outcome }, key }) => {
      const run = { scope, key, body, from: clock.now(), to: Number.POSITIVE_INFINITY, effect: false }
      runs.push(run)
      const number = runs.length
      await sleep(handleMs)
      run.to = clock.now()
      run.effect = outcome === 'answer'
      if (outcome === 'throw') throw Object.assign(new Error('no'), { status: 500 })
      return { scope, key, body, number }
    },
    { clock, receipts: far(make(clock), distances, sleep), scope: ({ scope }) => scope, leaseMs: LEASE_MS },
  )
  const answers = new Map<string, string>()
  const failures: unknown[] = []
  let settled = 0
  const look = ({ scope, key, body }: Sent, answer: Answer) => {
    if (answer.status === 200) {
      // One answer per scope and key, whoever asks, and nobody else's.
      const id = `${scope}/${key}`
      expect(JSON.parse(answer.body)).toMatchObject({ scope, key, body })
      expect(answer.body, 'another answer').toBe(answers.get(id) ?? answer.body)
      answers.set(id, answer.body)
    } else {
      // 400: the client left before its body was read.
      expect([400, 409, 422]).toContain(answer.status)
      if (answer.status === 409) expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    }
  }
  for (const request of requests) {
    const { at, key, body, leaveMs } = request
    const incoming = posted(key, body)
    clock.setTimeout(() => incoming.leave(), at + leaveMs)
    clock.setTimeout(() => {
      receiver
        .answer(request, incoming)
        .then(
          (answer) => look(request, answer),
          (error: unknown) => expect(error).toMatchObject({ status: 500 }),
        )
        .catch((error: unknown) => failures.push(error))
        .finally(() => settled++)
    }, at)
  }
  await clock.advance(5_000)
  if (failures.length > 0) throw failures[0]
  expect(settled).toBe(requests.length)
  expect(clock.pending).toBe(0)
  for (const [index, run] of runs.entries()) {
    for (const other of runs.slice(index + 1)) {
      if (other.scope !== run.scope || other.key !== run.key) continue
      // The receipts are up to 40 ms away, so a lease is felt earlier by its holder than it began.
      const expired = Math.min(run.to, other.from) - run.from >= LEASE_MS - 40
      const told = `${JSON.stringify(run)} and ${JSON.stringify(other)} from ${start}`
      if (other.from < run.to) expect(expired, `two at once: ${told}`).toBe(true)
      if (run.effect && other.effect) expect(expired, `two effects: ${told}`).toBe(true)
    }
  }
}

/** The same receipts behind a network. */
function far(inner: Receipts<never>, distances: readonly number[], sleep: (ms: number) => Promise<void>) {
  let turn = 0
  const pass = () => sleep(distances[turn++ % distances.length] ?? 0)
  const away =
    <Args extends unknown[], T>(run: (...args: Args) => T | Promise<T>) =>
    async (...args: Args): Promise<T> => {
      await pass()
      const result = await run(...args)
      await pass()
      return result
    }
  return {
    claim: away(inner.claim.bind(inner)),
    complete: away(inner.complete.bind(inner)),
    release: away(inner.release.bind(inner)),
  }
}

const bookOf = (clock: Clock) => new ReceiptBook({ clock })

test('over any schedule of repetitions, failures and hanging handlers: one effect and one answer per key', async () => {
  await fc.assert(
    fc.asyncProperty(schedule, (given) => check(given, bookOf)),
    { numRuns: 150 },
  )
})

// The shapes that the property is there to catch.
const broken: Record<string, (clock: Clock) => Receipts<never>> = {
  'looks first and claims later': (clock) => {
    const book = bookOf(clock)
    return overriding(book, {
      async claim(...of) {
        const probe = book.claim(...of)
        if (probe.state !== 'claimed') return probe
        book.release(probe.lease)
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 5))
        const claim = book.claim(...of)
        return claim.state === 'claimed' ? claim : probe
      },
    })
  },
  'lets a late holder overwrite': (clock) => {
    const book = bookOf(clock)
    const latest = new Map<string, Lease>()
    return overriding(book, {
      claim(...of) {
        const claim = book.claim(...of)
        if (claim.state === 'claimed') latest.set(`${of[0]}/${of[1]}`, claim.lease)
        return claim
      },
      complete({ scope, key }, answer) {
        book.complete(latest.get(`${scope}/${key}`) ?? { scope, key, token: '' }, answer)
        return true
      },
    })
  },
  'lets a late holder release': (clock) => {
    const book = bookOf(clock)
    const latest = new Map<string, Lease>()
    return overriding(book, {
      claim(...of) {
        const claim = book.claim(...of)
        if (claim.state === 'claimed') latest.set(`${of[0]}/${of[1]}`, claim.lease)
        return claim
      },
      release: ({ scope, key }) => book.release(latest.get(`${scope}/${key}`) ?? { scope, key, token: '' }),
    })
  },
  'forgets the scope': (clock) => {
    const book = bookOf(clock)
    return overriding(book, {
      claim: (_, ...of) => book.claim('', ...of),
    })
  },
  'does not compare bodies': (clock) => {
    const book = bookOf(clock)
    return overriding(book, { claim: (scope, key, _, leaseMs) => book.claim(scope, key, '', leaseMs) })
  },
  'remembers failures': (clock) => {
    const book = bookOf(clock)
    return overriding(book, { release: (lease) => void book.complete(lease, '{"scope":"?"}') })
  },
  'remembers nothing': (clock) => {
    const book = bookOf(clock)
    return overriding(book, {
      complete(lease) {
        book.release(lease)
        return true
      },
    })
  },
}

function overriding(book: ReceiptBook, verbs: Partial<Receipts<never>>): Receipts<never> {
  return {
    claim: book.claim.bind(book),
    complete: book.complete.bind(book),
    release: book.release.bind(book),
    ...verbs,
  }
}

test.each(Object.entries(broken))('the property fails for a memory that %s', async (_, make) => {
  const found = await fc.check(
    fc.asyncProperty(schedule, (given) => check(given, make)),
    { numRuns: 500, endOnFailure: true },
  )
  expect(found.failed).toBe(true)
})

test('over any claims, completions and releases there are never more receipts than `maxItems`', () => {
  const step = fc.record({
    verb: fc.constantFrom('claim', 'complete', 'release'),
    key: fc.integer({ min: 0, max: 12 }),
    ms: fc.nat(40),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 6 }), (steps, maxItems) => {
      const clock = virtualClock()
      const book = new ReceiptBook({ clock, maxItems, ttlMs: 500 })
      const leases = new Map<number, { lease: Lease; until: number }>()
      for (const { verb, key, ms } of steps) {
        clock.jump(ms)
        const held = leases.get(key)
        if (verb === 'claim') {
          try {
            const claim = book.claim('', String(key), 'print', LEASE_MS)
            if (claim.state === 'claimed') leases.set(key, { lease: claim.lease, until: clock.now() + LEASE_MS })
            // Whoever holds a lease that is not over still has it.
            if (claim.state === 'claimed' && held) expect(clock.now()).toBeGreaterThanOrEqual(held.until)
          } catch (error) {
            expect(error).toMatchObject({ code: 'OVERLOADED' })
            const live = [...leases.values()].filter(({ until }) => clock.now() < until)
            expect(live).toHaveLength(maxItems)
          }
        } else if (held) {
          const ours = verb === 'complete' ? book.complete(held.lease, '1') : book.release(held.lease)
          if (verb === 'complete' && clock.now() < held.until) expect(ours).toBe(true)
          leases.delete(key)
        }
      }
      // What is there is a mismatch for another message, and it is no more than the bound.
      let there = 0
      for (let key = 0; key <= 12; key++) {
        try {
          const claim = book.claim('', String(key), 'other', 1)
          if (claim.state === 'mismatch') there++
          else if (claim.state === 'claimed') book.release(claim.lease)
        } catch {
          // Full of what is being handled.
        }
      }
      expect(there).toBeLessThanOrEqual(maxItems)
    }),
  )
})
