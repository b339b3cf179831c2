import fc from 'fast-check'
import { connect } from '../../src/client/index.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { CUT, event, type Part, ready, scripted, settle } from '../client/scripted.js'
import { seeded } from './runs.js'

/** What a consumer has in hand: its next item, and the end. */
export interface Acking {
  next(): Promise<IteratorResult<StreamItem, undefined>>
  close(): void
}

/** A client that acknowledges, at `/acks`, what its consumer has finished. */
export type MakeAcking = (url: string, options: { fetch: typeof fetch; clock: VirtualClock }) => Acking

export const ourAcks: MakeAcking = (url, options) => {
  const stream = connect(url, { acks: '/acks', ...options })
  const items = stream[Symbol.asyncIterator]()
  return { next: () => items.next(), close: () => stream.close() }
}

type Answer = 'taken' | 'refused' | 'unknown' | 'broken' | 'silent'

type Act =
  | { readonly act: 'publish' | 'take'; readonly count: number }
  | { readonly act: 'wait'; readonly ms: number }
  | { readonly act: 'cut' }
  /** From now on, this is what becomes of an acknowledgement. */
  | { readonly act: 'answer'; readonly answer: Answer }

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('take' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant('wait' as const), ms: fc.constantFrom(0, 10, 300, 1_000, 5_000) }),
  },
  { weight: 2, arbitrary: fc.constant({ act: 'cut' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant('answer' as const),
      answer: fc.constantFrom<Answer>('taken', 'refused', 'unknown', 'broken', 'silent'),
    }),
  },
)

/** A stream of events whose data is their number, and the other end of its responses. */
class Server {
  readonly clock: VirtualClock
  readonly script = scripted((request) => {
    if (request.init.method === 'POST') return this.#acknowledged(String(request.init.body), request.init.signal)
    this.connections++
    this.#isCut = false
    const from = Number(request.cursor?.slice('e.'.length) ?? 0)
    return request.answer(this.#parts(from, request.cursor === null ? 'new' : 'ok'))
  })
  connections = 0
  head = 0
  answer: Answer = 'taken'
  /** The newest event that the consumer has finished. */
  finished = 0
  acknowledged = 0
  fault: Error | undefined
  #saidAt = Number.NEGATIVE_INFINITY
  #underWay = 0
  #isCut = false
  #look = () => {}

  constructor(clock: VirtualClock) {
    this.clock = clock
  }

  publish(count: number): void {
    this.head += count
    this.#look()
  }

  cut(): void {
    this.#isCut = true
    this.#look()
  }

  *#parts(from: number, resumed: string): Generator<Part> {
    yield ready({ connection: `c${this.connections}`, resumed }, `e.${from}`)
    for (let n = from + 1; ; n++) {
      yield new Promise((resolve) => {
        this.#look = () => {
          if (this.#isCut) resolve(CUT)
          else if (this.head >= n) resolve(event(String(n), `e.${n}`))
        }
        this.#look()
      })
    }
  }

  async #acknowledged(body: string, signal: AbortSignal | null | undefined): Promise<Response> {
    const now = this.clock.now()
    const { connection, cursor } = JSON.parse(body) as { connection: string; cursor: string | null }
    const place = Number(cursor?.slice('e.'.length) ?? 0)
    const wrong = (what: string) => {
      this.fault ??= new Error(`${connection} acknowledges ${cursor}: ${what}`)
    }
    if (place > this.finished) wrong(`${place} was not finished, ${this.finished} was`)
    if (place < this.acknowledged) wrong(`${this.acknowledged} was acknowledged before`)
    if (now - this.#saidAt < 1_000) wrong(`${now - this.#saidAt} ms after the last`)
    if (connection !== `c${this.connections}`) wrong(`the connection is c${this.connections}`)
    if (this.#underWay > 0) wrong('another one is under way')
    this.acknowledged = Math.max(place, this.acknowledged)
    this.#saidAt = now
    if (this.answer === 'broken') throw new TypeError('fetch failed')
    if (this.answer === 'silent') {
      this.#underWay++
      await new Promise<void>((resolve) => {
        if (signal) signal.addEventListener('abort', () => resolve())
      })
      this.#underWay--
    }
    return new Response(null, { status: { refused: 500, unknown: 404 }[this.answer as string] ?? 204 })
  }
}

/** Asks for items as a consumer does: to ask for the next is to say that the one before is finished. */
class Consumer {
  readonly #client: Acking
  readonly #server: Server
  #inHand = 0
  #asked = false

  constructor(client: Acking, server: Server) {
    this.#client = client
    this.#server = server
  }

  /** Returns whether there was something to ask for. */
  async take(): Promise<boolean> {
    if (this.#asked) return false
    this.#server.finished = Math.max(this.#server.finished, this.#inHand)
    this.#asked = true
    void this.#client.next().then(({ value }) => {
      if (value?.type !== 'event') return
      this.#inHand = Number(value.data)
      this.#asked = false
    })
    await settle(1)
    return true
  }
}

/**
 * Over any schedule of events, cuts and answers: what is acknowledged was finished, goes only forward, a second lies
 * between two, one is under way at a time, the last one arrives in the end, and nothing is left behind.
 */
export function acks(make: MakeAcking): fc.IAsyncProperty<unknown> {
  const schedule = fc.array(act, { minLength: 1, maxLength: 30 })
  return fc.asyncProperty(schedule, fc.integer(), (acts, seed) =>
    seeded(seed, async () => {
      const clock = virtualClock()
      const server = new Server(clock)
      const client = make('http://test/events', { fetch: server.script.fetch, clock })
      const consumer = new Consumer(client, server)
      await clock.advance(0)
      for (const one of acts) {
        if (one.act === 'publish') server.publish(one.count)
        else if (one.act === 'take') for (let n = 0; n < one.count; n++) await consumer.take()
        else if (one.act === 'cut') server.cut()
        else if (one.act === 'answer') server.answer = one.answer
        if (one.act === 'wait') await clock.advance(one.ms)
        else await settle()
        if (server.fault) break
      }
      server.answer = 'taken'
      server.publish(1)
      await clock.advance(60_000)
      while (await consumer.take()) await settle()
      await clock.advance(20_000)
      const { fault, acknowledged, head } = server
      client.close()
      await settle()
      const { length } = server.script.requests
      await clock.advance(60_000)
      if (fault) throw fault
      if (acknowledged !== head) throw new Error(`${head} is finished, and ${acknowledged} is what the server knows`)
      if (server.script.requests.length > length) throw new Error('something was sent after the end')
      if (clock.pending > 0 || server.script.open > 0)
        throw new Error(`left behind: ${clock.pending} timers, ${server.script.open} bodies`)
    }),
  )
}
