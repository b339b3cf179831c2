import fc from 'fast-check'
import {
  createOutbox,
  type Outbox,
  type OutboxItem,
  type OutboxOptions,
  type OutboxStorage,
  type Rejection,
  webStorage,
} from '../../src/client/outbox.js'
import type { Clock } from '../../src/protocol/clock.js'
import { SseError } from '../../src/protocol/error.js'
import { virtualClock } from '../../src/testing/index.js'
import { Area } from '../support/area.js'
import { turns } from '../support/turns.js'
import { seeded } from './runs.js'

/** What an outbox is given by its page. */
export interface OutboxParts extends OutboxOptions {
  readonly fetch: typeof fetch
  readonly storage: OutboxStorage
}

/** What the property is about. */
export type MakeOutbox = (parts: OutboxParts) => Outbox

export const ourOutbox: MakeOutbox = (parts) => createOutbox('http://test/messages', parts)

const MAX_ITEMS = 6
const MAX_BYTES = 60
const LANES = 3

/** How the server meets one request: after a while it handles it, or answers a status; and the answer may be lost. */
const reaction = fc.record({
  arrivesMs: fc.oneof(fc.constant(0), fc.nat(400)),
  status: fc.oneof(
    { weight: 3, arbitrary: fc.constant(200) },
    { weight: 2, arbitrary: fc.constantFrom(503, 429, 500, 408) },
    { weight: 1, arbitrary: fc.constantFrom(400, 409, 422) },
    // A gateway gives up on a handler that goes on; whoever asks is not known any more.
    { weight: 1, arbitrary: fc.constantFrom(502, 504, 403) },
  ),
  answersMs: fc.oneof(fc.constant(0), fc.nat(400), fc.constant(20_000)),
  lost: fc.oneof({ weight: 4, arbitrary: fc.constant('no' as const) }, fc.constantFrom('request', 'answer')),
  retryAfter: fc.option(fc.nat(5), { nil: undefined }),
})

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      lane: fc.nat(LANES - 1),
      count: fc.integer({ min: 1, max: 4 }),
      retry: fc.integer({ max: 7, min: 0 }).map((n) => n > 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(500), fc.nat(60_000)) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('offline' as const), ms: fc.nat(30_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('pause' as const, 'resume' as const) }) },
  /** The next time that a listener hears of a message in that state, it does something itself. */
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('listen' as const),
      state: fc.constantFrom('queued' as const, 'sending' as const, 'waiting' as const, 'failed' as const),
      does: fc.constantFrom('send' as const, 'send' as const, 'close' as const, 'pause' as const, 'throw' as const),
    }),
  },
  /** The page ends: killed, or in order. Another one comes. */
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('reload' as const), orderly: fc.boolean(), turns: fc.nat(3) }),
  },
)

const plans = fc.record({
  seed: fc.nat(),
  overflow: fc.constantFrom('reject' as const, 'drop-oldest' as const),
  steps: fc.array(step, { minLength: 1, maxLength: 16 }),
  reactions: fc.array(reaction, { maxLength: 24 }),
})

export type OutboxPlan = typeof plans extends fc.Arbitrary<infer P> ? P : never

/**
 * Over any schedule of answers, delays, losses, networks that are off, pauses and ends of the page: what the server
 * handles first comes in the order of sending, each once; what the sender is told is true; every message is in one
 * of the numbers; no bound is passed; and nothing is left behind.
 */
export function outboxKeeps(make: MakeOutbox): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(plans, (plan) => seeded(plan.seed, () => new Run(plan, make).play()))
}

type Reaction = Extract<OutboxPlan['steps'][number], { kind: 'listen' }>

/** A message, and what became of it as far as its sender knows. */
interface Sent {
  readonly text: string
  /** `null` where there is no order. */
  readonly lane: number | null
  end: string | undefined
  /** What was said of it when its page ended, which is not its end if it is stored. */
  told?: string
}

/** The server, the disk, and one page after the other. */
class Run {
  readonly #plan: OutboxPlan
  readonly #make: MakeOutbox
  readonly #clock = virtualClock()
  readonly #area = new Area()
  readonly #everStored = new Set<string>()
  readonly #effects: string[] = []
  readonly #verdicts = new Map<string, number>()
  readonly #sent = new Map<string, Sent>()
  #reaction: Reaction | undefined
  #requests = 0
  #isHealed = false
  #isOnLine = true
  #page: Page

  constructor(plan: OutboxPlan, make: MakeOutbox) {
    this.#plan = plan
    this.#make = make
    this.#page = this.#open()
  }

  async play(): Promise<void> {
    const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
    const onLine = () => this.#isOnLine
    const navigator = Object.defineProperty({}, 'onLine', { get: onLine })
    Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true })
    try {
      for (const one of this.#plan.steps) {
        await this.#step(one)
        if (this.#page.isEnding) await turns(2)
        this.#page.check()
      }
      await this.#settle()
      this.#verify()
    } finally {
      this.#page.die()
      if (before) Object.defineProperty(globalThis, 'navigator', before)
      else Reflect.deleteProperty(globalThis, 'navigator')
    }
  }

  async #step(one: OutboxPlan['steps'][number]): Promise<void> {
    switch (one.kind) {
      case 'send':
        for (let n = 0; n < one.count; n++) this.#send(one.retry ? one.lane : null)
        return
      case 'wait':
        return this.#clock.advance(one.ms)
      case 'offline':
        this.#isOnLine = false
        await this.#clock.advance(one.ms)
        this.#isOnLine = true
        return
      case 'pause':
        return this.#page.outbox.pause()
      case 'resume':
        return this.#page.outbox.resume()
      case 'listen':
        this.#reaction = one
        return
      case 'reload':
        await this.#endPage(one.orderly)
        this.#page = this.#open()
        await turns(one.turns)
    }
  }

  #send(lane: number | null): void {
    const sent: Sent = { text: `m${this.#sent.size}`, lane, end: undefined }
    this.#sent.set(sent.text, sent)
    try {
      const receipt = this.#page.outbox.send(sent.text, lane === null ? { retry: false } : { lane: `l${lane}` })
      this.#page.taken++
      receipt.then(
        () => this.#ended(sent, 'accepted'),
        (error: unknown) => this.#ended(sent, codeOf(error)),
      )
    } catch (error) {
      sent.end = `refused (${codeOf(error)})`
    }
  }

  /** What a listener does about what it hears. */
  #react({ state, lane, error }: OutboxItem): void {
    const reaction = this.#reaction
    if (reaction?.state !== state) return
    this.#reaction = undefined
    switch (reaction.does) {
      case 'send':
        // What is dropped makes room for a message that has no place yet, and so no order.
        this.#send(lane === null || error?.code === 'OUTBOX_FULL' ? null : Number(lane.slice(1)))
        return
      case 'close':
        this.#page.isEnding = true
        void this.#page.outbox.close()
        return
      case 'pause':
        this.#page.outbox.pause()
        return
      case 'throw':
        throw new Error('a listener fails')
    }
  }

  #open(): Page {
    const page: Page = new Page(this.#clock, this.#area, this.#everStored, (init) => this.#answer(init))
    page.begin(this.#make, this.#plan.overflow, {
      ended: (text, code) => {
        const sent = this.#sent.get(text)
        if (sent) this.#ended(sent, code)
      },
      heard: (item) => {
        if (page === this.#page) this.#react(item)
      },
    })
    return page
  }

  /** What the end of a page interrupts, and is stored, has not ended. */
  #ended(sent: Sent, end: string): void {
    const isInterrupted = this.#page.isEnding && (end === 'CLOSED' || end === 'UNCERTAIN') && this.#isStored(sent)
    if (isInterrupted) sent.told = end
    else sent.end = end
  }

  #isStored({ text }: Sent): boolean {
    return [...this.#area.map.values()].some((record) => (JSON.parse(record) as { body: string }).body === text)
  }

  async #endPage(orderly: boolean): Promise<void> {
    const page = this.#page
    page.isEnding = true
    if (orderly) {
      await page.outbox.close()
      await turns(2)
      page.check()
      if (page.timers > 0) throw new Error(`left behind: ${page.timers} timers of a closed outbox`)
    }
    page.die()
    for (const sent of this.#sent.values()) {
      if (sent.end !== undefined || this.#isStored(sent)) continue
      // Given up just before its page ended, and removed just after.
      sent.end = sent.told
      if (sent.end !== undefined) continue
      if (orderly) throw new Error(`unaccounted: ${sent.text} did not end with its outbox`)
      if (this.#everStored.has(sent.text)) throw new Error(`lost: ${sent.text} was stored, and is no more`)
      sent.end = 'lost with its page'
    }
  }

  /** The server is well from now on, and everything comes to its end. */
  async #settle(): Promise<void> {
    this.#isHealed = true
    this.#reaction = undefined
    if (this.#page.isEnding) {
      await this.#endPage(true)
      this.#page = this.#open()
    }
    this.#page.outbox.resume()
    await this.#clock.advance(2 * 600_000)
    this.#page.check()
    await this.#endPage(true)
    if (this.#clock.pending > 0) throw new Error(`left behind: ${this.#clock.pending} timers`)
    if (this.#area.length > 0) throw new Error(`left behind: ${this.#area.length} stored messages`)
  }

  /** What has left arrives, whatever becomes of the page. */
  async #answer(init: RequestInit): Promise<Response> {
    const reaction = this.#isHealed ? undefined : this.#plan.reactions[this.#requests++]
    const { arrivesMs, status, answersMs, lost, retryAfter } = reaction ?? WELL
    const wait = (ms: number) => new Promise<void>((resolve) => this.#clock.setTimeout(resolve, ms))
    if (arrivesMs > 0) await wait(arrivesMs)
    if (lost === 'request') throw new TypeError('fetch failed')
    const key = new Headers(init.headers).get('idempotency-key') ?? ''
    const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
    if (status === 502 || status === 504 || (status === 409 && retryAfter !== undefined)) {
      void wait(answersMs).then(() => this.#handle(key, init))
      return new Response(null, { status, headers })
    }
    if (status === 403) return new Response(null, { status })
    const isFinal = status === 200 || status === 400 || status === 422 || (status === 409 && retryAfter === undefined)
    const verdict = this.#verdicts.get(key) ?? status
    if (!this.#verdicts.has(key)) {
      if (status === 200) this.#handle(key, init)
      else if (isFinal) this.#verdicts.set(key, status)
    }
    if (answersMs > 0) await wait(answersMs)
    if (lost === 'answer') throw new TypeError('terminated')
    return new Response(null, { status: verdict, headers: verdict === 409 && isFinal ? {} : headers })
  }

  #handle(key: string, init: RequestInit): void {
    if (this.#verdicts.has(key)) return
    this.#verdicts.set(key, 200)
    this.#effects.push(String(init.body))
  }

  #verify(): void {
    const place = new Map<string, number>()
    for (const [index, text] of this.#effects.entries()) {
      if (place.has(text)) throw new Error(`handled twice: ${text}`)
      place.set(text, index)
    }
    const last = new Map<number, number>()
    for (const { text, lane, end } of this.#sent.values()) {
      const at = place.get(text)
      if (end === undefined) throw new Error(`unaccounted: nobody knows what became of ${text}`)
      // It may have arrived, and if so, at any time.
      if (end === 'UNCERTAIN' || end === 'lost with its page') continue
      if ((end === 'accepted') !== (at !== undefined)) {
        throw new Error(`told falsely: ${text} ended with ${end}, and ${at === undefined ? 'was not' : 'was'} handled`)
      }
      if (at === undefined || lane === null) continue
      if (at < (last.get(lane) ?? -1)) throw new Error(`out of order: ${text} in ${this.#effects.join()}`)
      last.set(lane, at)
    }
  }
}

const WELL: OutboxPlan['reactions'][number] = {
  arrivesMs: 0,
  status: 200,
  answersMs: 0,
  lost: 'no',
  retryAfter: undefined,
}

/** One page: its time, its network and its way to the disk end with it. */
class Page {
  readonly #clock: Clock
  readonly #storage: OutboxStorage
  readonly #everStored: Set<string>
  readonly #answer: (init: RequestInit) => Promise<Response>
  readonly #timers = new Set<() => void>()
  readonly #restored = new Set<string>()
  #outbox: Outbox | undefined
  #wrong: Error | undefined
  #isDead = false
  isEnding = false
  taken = 0

  constructor(clock: Clock, area: Area, everStored: Set<string>, answer: (init: RequestInit) => Promise<Response>) {
    this.#clock = clock
    this.#storage = webStorage(area)
    this.#everStored = everStored
    this.#answer = answer
  }

  get outbox(): Outbox {
    if (!this.#outbox) throw new Error('The page has no outbox yet')
    return this.#outbox
  }

  get timers(): number {
    return this.#timers.size
  }

  begin(
    make: MakeOutbox,
    overflow: 'reject' | 'drop-oldest',
    { ended, heard }: { ended(text: string, code: string): void; heard(item: OutboxItem): void },
  ): void {
    this.#outbox = make({
      overflow,
      maxItems: MAX_ITEMS,
      maxBytes: MAX_BYTES,
      fetch: (_, init = {}) => this.#whileAlive(() => this.#answer(init)),
      clock: { now: () => this.#clock.now(), setTimeout: (run, ms) => this.#setTimeout(run, ms) },
      storage: {
        names: () => this.#whileAlive(() => this.#storage.names()),
        read: (name) => this.#whileAlive(() => this.#storage.read(name)),
        write: (name, text) =>
          this.#whileAlive(() => {
            this.#everStored.add((JSON.parse(text) as { body: string }).body)
            return this.#storage.write(name, text)
          }),
        remove: (name) => this.#whileAlive(() => this.#storage.remove(name)),
      },
      onError: (error) => {
        this.#wrong ??= new Error(`the storage was said to fail: ${String(error)}`)
      },
      onState: ({ item }) => {
        if (this.#isDead) return
        this.#look()
        if (!item) return
        if (item.restored) {
          this.#restored.add(item.body)
          if (item.state === 'accepted') ended(item.body, 'accepted')
          if (item.state === 'failed') ended(item.body, codeOf(item.error))
        }
        heard(item)
      },
    })
  }

  check(): void {
    this.#look()
    if (this.#wrong) throw this.#wrong
    const { enqueued } = this.outbox.counters
    const known = this.taken + this.#restored.size
    if (enqueued !== known) throw new Error(`accounting: ${enqueued} enqueued, ${known} known of`)
  }

  die(): void {
    this.#isDead = true
    for (const cancel of [...this.#timers]) cancel()
  }

  #look(): void {
    const { counters, size } = this.outbox
    const { enqueued, ...ends } = counters
    const sum = Object.values(ends).reduce((all, count) => all + count, 0)
    const bytes = this.outbox.items().reduce((all, { body }) => all + body.length, 0)
    if (sum !== enqueued || ends.pending !== size) this.#wrong ??= new Error(`accounting: ${JSON.stringify(counters)}`)
    if (size > MAX_ITEMS || bytes > MAX_BYTES) this.#wrong ??= new Error(`bound passed: ${size} items, ${bytes} bytes`)
  }

  #setTimeout(run: () => void, ms: number): () => void {
    if (this.#isDead) return () => {}
    const cancel = () => {
      cancelTimer()
      this.#timers.delete(cancel)
    }
    const cancelTimer = this.#clock.setTimeout(() => {
      this.#timers.delete(cancel)
      run()
    }, ms)
    this.#timers.add(cancel)
    return cancel
  }

  /** Nothing comes back to a page that is gone, and nothing leaves it. */
  async #whileAlive<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#isDead) await new Promise(() => {})
    try {
      return await ask()
    } finally {
      if (this.#isDead) await new Promise(() => {})
    }
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof SseError)) return String(error)
  // Rejected now, and perhaps handled before.
  const { mayHaveArrived } = (error.cause ?? {}) as Partial<Rejection>
  return mayHaveArrived ? 'UNCERTAIN' : error.code
}
