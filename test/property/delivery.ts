import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { type Place, parseCursor } from '../../src/protocol/cursor.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { createHub } from '../../src/server/index.js'
import { type Fault, type Handler, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { type Copy, keyOf, ModelStore } from '../support/model-store.js'
import { NativeReader } from '../support/native-reader.js'
import { FarStore } from '../support/stores.js'
import { turns } from '../support/turns.js'
import { seeded } from './runs.js'
import { begins, type Causes, type Story, walk } from './story.js'

/** One incarnation of a server. The stream is the path; a query `from` is honoured. */
export interface Server {
  readonly handler: Handler
  publish(stream: string, batch: readonly string[]): Promise<unknown>
  /** Ends it in order. */
  close(): Promise<unknown>
  /** How many connections it holds. */
  connections(): number
}

export interface ServerParts {
  /** The store as the server reaches it, over a network of its own. */
  readonly far: FarStore
  readonly log: ModelStore
  readonly clock: VirtualClock
  readonly plan: Plan
}

/** Whether an id is a place of the log, or something that only the server understands. */
export type Ids = 'places' | 'foreign'

/** What the property is about. */
export type MakeServer = (parts: ServerParts) => Server

export const hubServer: MakeServer = ({ far, clock, plan }) => {
  const { ringBytes, maxReplay } = plan
  const hub = createHub({ store: far, clock, ringBytes, maxReplay, heartbeatMs: HEARTBEAT_MS, onError: () => {} })
  return {
    handler: sse(hub, { stream: (request) => new URL(request.url).pathname.slice(1) }),
    publish: (stream, batch) =>
      hub.publish(
        stream,
        batch.map((data) => ({ data })),
      ),
    close: () => hub.close({ graceMs: 100 }),
    connections: () => hub.stats().connections,
  }
}

type Step =
  | {
      readonly kind: 'publish'
      readonly stream: number
      readonly sizes: readonly number[]
      readonly elsewhere: boolean
    }
  | { readonly kind: 'wait'; readonly ms: number }
  /** The event loop turns, and no time passes. */
  | { readonly kind: 'turn'; readonly count: number }
  | { readonly kind: 'copy' }
  /** The server goes, in order or not, and another one comes: on the same store, on an empty one, on an old copy. */
  | { readonly kind: 'restart'; readonly to: 'same' | 'empty' | 'copy'; readonly orderly: boolean }
  /** The store is another from now on, under a server that lives. */
  | { readonly kind: 'failover'; readonly to: 'empty' | 'copy' }
  | { readonly kind: 'store'; readonly fails: number; readonly drops: number; readonly delayMs: number }
  /** The last publish is lost in a failover, as many others take its place, and one more follows at once. */
  | { readonly kind: 'rewrite' }
  /** A client is ended, and started again from the cursor that it saved. */
  | { readonly kind: 'revive'; readonly client: number }
  | { readonly kind: 'join'; readonly client: number }

interface ClientPlan {
  readonly stream: number
  readonly from: 'earliest' | 'now'
  /** Whether it is ours, or one that knows nothing of us. */
  readonly native: boolean
  /** How long it takes to handle one item. */
  readonly handlingMs: number
  /** How soon it takes a silent stream for one that is held back, and polls. */
  readonly connectTimeoutMs: number
  /** What happens to each of its attempts; to those after them, nothing. */
  readonly faults: readonly (readonly PlannedFault[])[]
  readonly seed: number
}

/** A fault, or a restart of the world's server when the attempt is made. */
type PlannedFault = Exclude<Fault, { kind: 'restart' }> | { readonly kind: 'restart'; readonly to: 'empty' | 'copy' }

export interface Plan {
  readonly seed: number
  readonly maxEvents: number
  readonly maxReplay: number
  /** Whether the store remembers the tags of what it trimmed. */
  readonly keepsTags: boolean
  readonly ringBytes: number
  readonly clients: readonly ClientPlan[]
  readonly steps: readonly Step[]
}

const HEARTBEAT_MS = 2_000
/** A first response may say nothing for 300 s; then come the longest pause, and what is left to transfer. */
const CATCH_UP_MS = 420_000
const STREAMS = ['a', 'b', 'c']
const LETTERS = ['x', 'é', '😀', '\n', ' ', ':', '日']

const afterBytes = fc.oneof({ weight: 4, arbitrary: fc.nat(700) }, { weight: 1, arbitrary: fc.nat(30_000) })
const pauseMs = fc.oneof(fc.nat(50), fc.nat(3_000), fc.constantFrom(9_000, 40_000))

/** Faults that let a response go on, or end it by themselves. */
const passing: fc.Arbitrary<PlannedFault> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('dropping' as const), afterBytes, orderly: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'dropping' as const, afterBytes: 'head' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('slow' as const),
      bytesPerSecond: fc.integer({ min: 1_000, max: 50_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.constantFrom({ kind: 'split' as const, bytes: 1 }, { kind: 'split' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stalled' as const), afterBytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('halfOpen' as const), afterBytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('idle' as const), ms: fc.integer({ min: 1, max: 2_500 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flap' as const), ms: fc.nat(8_000) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'strip' as const, header: 'last-event-id' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'duplicate' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('status' as const),
      answers: fc.array(
        fc.record({
          status: fc.constantFrom(408, 429, 500, 503),
          headers: fc.constantFrom({}, { 'retry-after': '7' }),
        }),
        { minLength: 1, maxLength: 1 },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('restart' as const),
      to: fc.constantFrom('empty' as const, 'copy' as const),
    }),
  },
)
/** Proxies that hold bytes back for a while: until the response is ended on either side of them. */
const holding: fc.Arbitrary<PlannedFault[]> = fc
  .tuple(
    fc.oneof(
      fc.record({
        kind: fc.constant('buffering' as const),
        bytes: fc.constantFrom(100, 4_096, Number.POSITIVE_INFINITY),
      }),
      fc.constant({ kind: 'holdLast' as const }),
      fc.constant({ kind: 'gzip' as const }),
    ),
    fc.record({ kind: fc.constant('flap' as const), ms: fc.nat(8_000) }),
    fc.boolean(),
  )
  .map(([held, flap, isEndedBefore]) => (isEndedBefore ? [flap, held] : [held, flap]))

const clientPlan: fc.Arbitrary<ClientPlan> = fc.record({
  stream: fc.constantFrom(0, 0, 0, 1, 2),
  from: fc.constantFrom('earliest' as const, 'earliest' as const, 'now' as const),
  native: fc.constantFrom(false, false, true),
  handlingMs: fc.constantFrom(0, 0, 0, 40),
  connectTimeoutMs: fc.constantFrom(10_000, 10_000, 1_500, 300),
  faults: fc.array(
    fc.oneof({ weight: 4, arbitrary: fc.array(passing, { maxLength: 2 }) }, { weight: 1, arbitrary: holding }),
    { maxLength: 8 },
  ),
  seed: fc.nat(1_000),
})

/** What one publish brings: now and then so much that the store is read in several pages. */
const sizes = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.array(fc.oneof({ weight: 12, arbitrary: fc.nat(6) }, { weight: 1, arbitrary: fc.nat(9_000) }), {
      minLength: 1,
      maxLength: 12,
    }),
  },
  { weight: 1, arbitrary: fc.constant(Array<number>(270).fill(0)) },
)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      stream: fc.constantFrom(0, 0, 0, 1, 2),
      sizes,
      elsewhere: fc.constantFrom(false, false, true),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: pauseMs }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'copy' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('restart' as const),
      to: fc.constantFrom('same' as const, 'empty' as const, 'copy' as const),
      orderly: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('failover' as const),
      to: fc.constantFrom('empty' as const, 'copy' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('store' as const),
      fails: fc.constantFrom(0, 0, 2, 3),
      drops: fc.constantFrom(0, 1, 2),
      delayMs: fc.constantFrom(0, 0, 5, 60),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'rewrite' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revive' as const), client: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('join' as const), client: fc.nat(3) }) },
)

const plan: fc.Arbitrary<Plan> = fc.record({
  seed: fc.nat(),
  maxEvents: fc.constantFrom(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 40, 7),
  maxReplay: fc.constantFrom(10_000, 10_000, 10_000, 5),
  keepsTags: fc.boolean(),
  ringBytes: fc.constantFrom(1, 400, 1024 * 1024),
  clients: fc.array(clientPlan, { minLength: 1, maxLength: 4 }),
  steps: fc.array(step, { minLength: 3, maxLength: 25 }),
})

/**
 * For any publishing, any clients and any faults that end: what each consumer was handed is the log minus what was
 * announced as missing, in order, each event once; it is caught up in bounded time; and nothing is left behind.
 *
 * @param ids - whether the ids on the wire say which place of the log they mean.
 */
export function delivery(makeServer: MakeServer, ids: Ids = 'places'): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(plan, (chosen) => seeded(chosen.seed, () => new World(chosen, makeServer, ids).live()))
}

class World {
  readonly #plan: Plan
  readonly #makeServer: MakeServer
  readonly clock = virtualClock()
  readonly log: ModelStore
  readonly ids: Ids
  /** Every signal that somebody was given to listen to. */
  readonly signals: AbortSignal[] = []
  #server: Server
  #elsewhere: Server
  #far: FarStore
  #copy: Copy = new Map()
  #last: { readonly stream: string; readonly before: Copy } | undefined
  #serial = 0
  #isCalm = false
  readonly #clients: Client[]
  readonly #leaving: Promise<unknown>[] = []
  readonly #pending = new Set<Promise<unknown>>()
  readonly #bodies = new Set<() => void>()
  readonly #store = { fails: 0, drops: 0, delayMs: 0 }

  constructor(chosen: Plan, makeServer: MakeServer, ids: Ids) {
    this.#plan = chosen
    this.ids = ids
    this.#makeServer = makeServer
    this.log = new ModelStore({ maxEvents: chosen.maxEvents, keepsTags: chosen.keepsTags })
    this.#far = this.#farStore()
    this.#server = this.#start(this.#far)
    this.#elsewhere = this.#start(new FarStore(this.log, this.clock))
    this.#clients = chosen.clients.map((one) => new Client(one, this, chosen))
  }

  async live(): Promise<void> {
    this.#clients[0]?.start()
    for (const one of this.#plan.steps) await this.#take(one)
    this.#isCalm = true
    Object.assign(this.#store, { fails: 0, drops: 0, delayMs: 0 })
    this.#far.delayMs = 0
    for (const client of this.#clients) client.start()
    while (this.#pending.size > 0) await this.clock.advance(100)
    const until = this.clock.now() + CATCH_UP_MS
    while (this.clock.now() < until && this.#clients.some((client) => !client.isCaughtUp()))
      await this.clock.advance(1_000)
    for (const client of this.#clients) client.check()
    // What comes now comes twice.
    await this.clock.advance(5_000)
    for (const client of this.#clients) client.check()
    await this.#end()
  }

  /** Answers requests with the server that is there when they come. */
  async handle(request: Request): Promise<Response> {
    this.signals.push(request.signal)
    const response = await this.#server.handler(request)
    return response.body === null ? response : this.#tracked(response, response.body)
  }

  fetch(one: ClientPlan): typeof fetch {
    const faults = (attempt: number): Fault[] => {
      const present = this.#isCalm ? [] : (one.faults[attempt - 1] ?? [])
      return present
        .filter(({ kind }) => !(one.native && kind === 'strip'))
        .map((fault) => (fault.kind === 'restart' ? { kind: 'restart', to: this.#restartOnce(fault.to) } : fault))
    }
    return simulate((request) => this.handle(request), { faults, seed: one.seed, clock: this.clock })
  }

  async #take(one: Step): Promise<void> {
    switch (one.kind) {
      case 'publish': {
        const stream = STREAMS[one.stream] ?? ''
        const batch = one.sizes.map((size) => this.#text(size))
        this.#last = { stream, before: this.log.copy }
        const published = (one.elsewhere ? this.#elsewhere : this.#server).publish(stream, batch)
        this.#track(published.catch(() => {}))
        // Publishes of one process are awaited, now and then.
        if (batch.length % 2 === 0) await this.clock.advance(0)
        return
      }
      case 'wait':
        return this.clock.advance(one.ms)
      case 'turn':
        return turns(one.count)
      case 'copy':
        this.#copy = this.log.copy
        return
      case 'restart':
        if (one.to !== 'same') this.#replace(one.to)
        return this.#restart(one.orderly)
      case 'failover':
        return this.#replace(one.to)
      case 'rewrite':
        return this.#rewrite()
      case 'store':
        Object.assign(this.#store, one)
        this.#far.delayMs = one.delayMs
        return
      case 'revive':
        return this.#clients[one.client % this.#clients.length]?.revive()
      case 'join':
        return this.#clients[one.client % this.#clients.length]?.start()
    }
  }

  #text(size: number): string {
    let text = `${++this.#serial}:`
    for (let at = 0; at < size; at++) text += LETTERS[(at * 7 + size) % LETTERS.length]
    return text
  }

  #replace(to: 'empty' | 'copy'): void {
    this.log.restore(to === 'empty' ? new Map() : this.#copy)
  }

  #rewrite(): void {
    if (!this.#last) return
    const { stream, before } = this.#last
    this.#last = undefined
    const { offset } = this.log.head(stream)
    this.log.restore(before)
    const lost = Math.max(0, offset - this.log.head(stream).offset)
    const others = Array.from({ length: lost }, () => ({ event: undefined, data: this.#text(0), key: undefined }))
    if (lost > 0) this.log.append(stream, others)
    this.#track(this.#server.publish(stream, [this.#text(0)]).catch(() => {}))
  }

  #restart(isOrderly: boolean): void {
    const [old, elsewhere] = [this.#server, this.#elsewhere]
    // A process that crashes takes its sockets along; nobody hears of it but those who read.
    if (!isOrderly) for (const cut of [...this.#bodies]) cut()
    this.#leaving.push(old.close(), elsewhere.close())
    this.#far = this.#farStore()
    this.#far.delayMs = this.#store.delayMs
    this.#server = this.#start(this.#far)
    this.#elsewhere = this.#start(new FarStore(this.log, this.clock))
  }

  #restartOnce(to: 'empty' | 'copy'): Handler {
    let isDone = false
    return (request) => {
      if (!isDone && !this.#isCalm) {
        this.#replace(to)
        this.#restart(false)
      }
      isDone = true
      return this.handle(request)
    }
  }

  #farStore(): FarStore {
    const far = new FarStore(this.log, this.clock)
    let calls = 0
    let hints = 0
    far.pollMs = this.log.pollMs
    far.fails = (verb) => verb === 'read' && this.#store.fails > 0 && ++calls % this.#store.fails === 0
    far.hints = () => this.#store.drops === 0 || ++hints % this.#store.drops !== 0
    return far
  }

  #start(far: FarStore): Server {
    return this.#makeServer({ far, log: this.log, clock: this.clock, plan: this.#plan })
  }

  #track(promise: Promise<unknown>): void {
    this.#pending.add(promise)
    promise.finally(() => this.#pending.delete(promise)).catch(() => {})
  }

  /** The response with a body that is known to be open, and that can be broken. */
  #tracked(response: Response, source: ReadableStream<Uint8Array>): Response {
    const reader = source.getReader()
    let breakOff = () => {}
    const over = () => this.#bodies.delete(breakOff)
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          breakOff = () => {
            over()
            controller.error(new TypeError('terminated'))
            reader.cancel().catch(() => {})
          }
          this.#bodies.add(breakOff)
        },
        async pull(controller) {
          try {
            const { done, value } = await reader.read()
            if (!done) return controller.enqueue(value)
            controller.close()
            over()
          } catch (error) {
            over()
            controller.error(error)
          }
        },
        cancel(reason) {
          over()
          return reader.cancel(reason)
        },
      },
      { highWaterMark: 0 },
    )
    return new Response(body, response)
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.close()
    this.#leaving.push(this.#server.close(), this.#elsewhere.close())
    const closed = Promise.all(this.#leaving)
    this.#track(closed)
    await this.clock.advance(30_000)
    for (const client of this.#clients) this.#track(client.done)
    await this.clock.advance(0)
    // A half open connection is known to nobody but the network.
    const left = {
      timers: this.clock.pending,
      listeners: this.signals.reduce((sum, signal) => sum + getEventListeners(signal, 'abort').length, 0),
      promises: this.#pending.size,
      connections: this.#server.connections() + this.#elsewhere.connections(),
      watching: this.log.watching,
      bodies: this.#clients.some((client) => client.isHalfOpen) ? 0 : this.#bodies.size,
    }
    const something = Object.entries(left).filter(([, count]) => count !== 0)
    if (something.length > 0) throw new Error(`left behind: ${JSON.stringify(Object.fromEntries(something))}`)
  }
}

/** One life of a consumer. */
interface Life extends Story {
  readonly cursor: () => string | null
  readonly done: Promise<unknown>
  close(): void
}

/** One consumer, over as many lives as the plan gives it. */
class Client {
  readonly #plan: ClientPlan
  readonly #world: World
  readonly #causes: Causes
  readonly #fetch: typeof fetch
  readonly #stream: string
  readonly isHalfOpen: boolean
  readonly #lives: Life[] = []
  #error: unknown

  constructor(one: ClientPlan, world: World, chosen: Plan) {
    this.#plan = one
    this.#world = world
    this.#fetch = world.fetch(one)
    this.#stream = STREAMS[one.stream] ?? ''
    const has = (which: string) => one.faults.some((faults) => faults.some(({ kind }) => kind === which))
    this.isHalfOpen = has('halfOpen')
    this.#causes = {
      retention: Number.isFinite(chosen.maxEvents),
      limit: chosen.maxReplay < 1_000,
      stripped: has('strip'),
    }
  }

  get done(): Promise<unknown> {
    return Promise.all(this.#lives.map(({ done }) => done))
  }

  /** Begins the first life. */
  start(): void {
    if (this.#lives.length === 0) this.#begin(null)
  }

  /** Ends, and begins again from what was saved: the place behind which everything is handled. */
  revive(): void {
    const life = this.#lives.at(-1)
    if (!life) return
    life.close()
    const cursor = life.cursor()
    const handled = life.items.slice(-2).map(({ id }) => id)
    if (life.items.length > 0 && !handled.includes(cursor ?? '')) {
      throw new Error(`the saved cursor ${cursor} is of none of the last items: ${handled.join()}`)
    }
    this.#begin(cursor, this.#placeOf(life))
  }

  close(): void {
    for (const life of this.#lives) life.close()
  }

  isCaughtUp(): boolean {
    const head = this.#world.log.head(this.#stream)
    const life = this.#lives.at(-1)
    const place = life && this.#placeOf(life)
    if (!place) return this.#world.ids === 'foreign' && life?.items.length === 0
    return keyOf(place) === keyOf(head)
  }

  /** Where a life has come to: what it would come back with. */
  #placeOf(life: Life): Place | undefined {
    const { log, ids } = this.#world
    if (ids === 'foreign') return walk(life, log, this.#causes)
    return parseCursor(life.cursor() ?? '') ?? undefined
  }

  check(): void {
    const { log } = this.#world
    if (this.#error !== undefined) throw new Error('the stream ended with an error', { cause: this.#error })
    for (const life of this.#lives) {
      const walked = walk(life, log, this.#causes)
      const place = this.#placeOf(life)
      if (walked && place && keyOf(walked) !== keyOf(place)) {
        throw new Error(`the cursor is ${keyOf(place)}, and what was handed over leads to ${keyOf(walked)}`)
      }
      // It was told where the stream begins for it, and was not handed anything yet.
      if (!walked && place && log.replaced === 0 && !begins(life, log, place)) {
        throw new Error(`began at ${keyOf(place)}, where ${this.#stream} did not stand when it was joined`)
      }
    }
    if (!this.isCaughtUp()) {
      const cursor = this.#lives.at(-1)?.cursor()
      throw new Error(`not caught up: ${cursor}, while ${this.#stream} stands at ${keyOf(log.head(this.#stream))}`)
    }
  }

  #begin(cursor: string | null, place?: Place): void {
    const { log, clock } = this.#world
    // A hub's `now` may be a moment old where others publish, too: it is the end of what it has heard of. Never newer.
    const asked = 0
    const url = `http://test/${this.#stream}?from=${this.#plan.from}`
    const options = { fetch: this.#fetch, clock }
    const story = { stream: this.#stream, from: this.#plan.from, place, asked, joined: Number.POSITIVE_INFINITY }
    if (this.#plan.native) {
      const reader = new NativeReader(url, { ...options, ...(cursor !== null && { lastEventId: cursor }) })
      const { items, done } = reader
      this.#lives.push({ ...story, items, done, cursor: () => reader.lastEventId || null, close: () => reader.close() })
      return
    }
    const { signal } = new AbortController()
    this.#world.signals.push(signal)
    const { connectTimeoutMs } = this.#plan
    const stream = connect(url, { ...options, connectTimeoutMs, signal, ...(cursor !== null && { cursor }) })
    const items: StreamItem[] = []
    const read = async () => {
      for await (const item of stream) {
        const ms = this.#plan.handlingMs
        if (ms > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, ms))
        // What was not handled to its end counts as never handed over: the cursor must not have passed it.
        if (stream.state === 'closed') return
        items.push(item)
      }
    }
    const done = read().catch((error: unknown) => {
      this.#error = error
    })
    const life: Life = { ...story, items, done, cursor: () => stream.cursor, close: () => stream.close() }
    const joined = () => {
      life.joined = log.moments(this.#stream).length
    }
    stream.ready.then(joined, () => {})
    this.#lives.push(life)
  }
}
