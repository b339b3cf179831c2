import fc from 'fast-check'
import { createOutbox, type Outbox, type OutboxOptions, SseError, webStorage } from '../../src/client/outbox.js'
import { virtualClock } from '../../src/testing/index.js'
import { Area } from '../support/area.js'
import { Locks } from '../support/locks.js'
import { seeded } from './runs.js'

const MOST_TABS = 3

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      tab: fc.nat(),
      lane: fc.nat(1),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(60), fc.nat(3_000)) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('open' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'die' as const, 'hide' as const), tab: fc.nat() }),
  },
)

const plans = fc.record({
  seed: fc.nat(),
  lockMs: fc.nat(30),
  diskMs: fc.oneof(fc.constant(0), fc.nat(30)),
  /** How many percent of the requests fail in one way or another. */
  bad: fc.nat(60),
  steps: fc.array(step, { minLength: 1, maxLength: 30 }),
})

type Plan = typeof plans extends fc.Arbitrary<infer P> ? P : never

/**
 * However tabs on one storage open, close and die, while locks and storage take their time: what one tab sends in a
 * lane is handled in order, what is said of it is true, and nothing that was stored stays behind while a tab lives
 * that sends something.
 */
export function tabsKeep(make: (options: OutboxOptions) => Outbox): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(plans, (plan) => seeded(plan.seed, () => new Browser(plan, make).play()))
}

export const ourTabs = (options: OutboxOptions) => createOutbox('http://test/messages', options)

/** One storage, one lock manager, one server. */
class Browser {
  readonly #plan: Plan
  readonly #make: (options: OutboxOptions) => Outbox
  readonly #tabs: Tab[] = []
  #opened = 0
  readonly clock = virtualClock()
  readonly area = new Area()
  readonly locks = new Locks()
  readonly effects: string[] = []
  readonly #keys = new Set<string>()
  /** What was sent, and how it ended as far as anybody was told. */
  readonly ends = new Map<string, string | undefined>()
  #isHealed = false
  wrong: string | undefined

  constructor(plan: Plan, make: (options: OutboxOptions) => Outbox) {
    this.#plan = plan
    this.#make = make
  }

  get lockMs(): number {
    return this.#plan.lockMs
  }

  async play(): Promise<void> {
    const names = ['navigator', 'addEventListener', 'removeEventListener'] as const
    const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const)
    try {
      this.#open()
      for (const one of this.#plan.steps) await this.#step(one)
      await this.#settle()
      this.#verify()
    } finally {
      for (const tab of this.#tabs) tab.die()
      for (const [name, own] of before) {
        if (own) Object.defineProperty(globalThis, name, own)
        else Reflect.deleteProperty(globalThis, name)
      }
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, ms))
  }

  diskWait(): Promise<void> {
    const { diskMs } = this.#plan
    return diskMs === 0 ? Promise.resolve() : this.wait(Math.random() * diskMs)
  }

  /** What has left arrives, whatever becomes of its tab. */
  async answer(init: RequestInit): Promise<Response> {
    const luck = this.#isHealed ? 1 : (Math.random() * 100) / Math.max(1, this.#plan.bad)
    await this.wait(Math.random() * 200)
    if (luck < 0.5) throw new TypeError('fetch failed')
    if (luck < 0.7) return new Response(null, { status: 503 })
    const key = new Headers(init.headers).get('idempotency-key') ?? ''
    if (!this.#keys.has(key)) this.effects.push(String(init.body))
    this.#keys.add(key)
    if (luck < 1) throw new TypeError('terminated')
    return new Response(null, { status: 204 })
  }

  /** The first end of a message counts, but for one that is the end of its tab only. */
  ended(text: string, end: string): void {
    if (end !== 'CLOSED' && this.ends.get(text) !== 'accepted') this.ends.set(text, end)
  }

  #open(): void {
    this.#tabs.push(new Tab(this, this.#opened++, this.#make))
  }

  async #step(one: Plan['steps'][number]): Promise<void> {
    if (one.kind === 'wait') return this.clock.advance(one.ms)
    if (one.kind === 'open') {
      if (this.#tabs.length < MOST_TABS) this.#open()
      return
    }
    const tab = this.#tabs[one.tab % this.#tabs.length]
    if (!tab) return
    if (one.kind === 'send') {
      for (let n = 0; n < one.count; n++) tab.send(one.lane)
      return
    }
    this.#tabs.splice(this.#tabs.indexOf(tab), 1)
    if (one.kind === 'close') void tab.outbox.close()
    else {
      if (one.kind === 'hide') tab.hide()
      tab.die()
    }
    if (this.#tabs.length === 0) this.#open()
  }

  /** All is well from now on. When those who are left have sent one more, nothing is left of those who are not. */
  async #settle(): Promise<void> {
    this.#isHealed = true
    await this.clock.advance(120_000)
    for (const tab of this.#tabs) tab.send(0)
    await this.clock.advance(300_000)
    if (this.area.length > 0) throw new Error(`orphaned: ${this.area.length} stored messages that no tab sends`)
    const sizes = this.#tabs.map(({ outbox }) => outbox.size)
    if (sizes.some((size) => size > 0)) throw new Error(`stuck: ${sizes.join()}`)
    const closing = Promise.all(this.#tabs.map(({ outbox }) => outbox.close()))
    await this.clock.advance(10_000)
    await closing
    if (this.clock.pending > 0) throw new Error(`left behind: ${this.clock.pending} timers`)
  }

  #verify(): void {
    if (this.wrong) throw new Error(this.wrong)
    const last = new Map<string, number>()
    for (const [text, end] of this.ends) {
      const at = this.effects.indexOf(text)
      if (at !== this.effects.lastIndexOf(text)) throw new Error(`handled twice: ${text}`)
      if (end === 'UNCERTAIN') continue
      if (end !== undefined && (end === 'accepted') !== at >= 0) throw new Error(`told falsely: ${text}, ${end}`)
      if (at < 0) continue
      const place = text.replace(/\.\d+$/, '')
      if (at < (last.get(place) ?? -1)) throw new Error(`out of order: ${text} in ${this.effects.join()}`)
      last.set(place, at)
    }
  }
}

/** One tab: its time, its network, its locks and its way to the disk end with it. */
class Tab {
  readonly outbox: Outbox
  readonly #browser: Browser
  readonly #number: number
  readonly #death: Promise<void>
  #end: () => void = () => {}
  readonly #timers = new Set<() => void>()
  #isDead = false
  #sent = 0
  #onHide = () => {}

  constructor(browser: Browser, number: number, make: (options: OutboxOptions) => Outbox) {
    this.#browser = browser
    this.#number = number
    this.#death = new Promise((resolve) => {
      this.#end = resolve
    })
    const { clock, area } = browser
    const give = (name: string, value: unknown) =>
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
    give('navigator', { onLine: true, locks: { request: this.#request } })
    give('addEventListener', (name: string, run: () => void) => {
      if (name === 'pagehide') this.#onHide = run
    })
    give('removeEventListener', () => {})
    const storage = webStorage(area)
    const disk = <T>(ask: () => Promise<T>) => this.#whileAlive(() => browser.diskWait(), ask)
    this.outbox = make({
      clock: {
        now: () => clock.now(),
        setTimeout: (run, ms) => this.#setTimeout(run, ms),
      },
      fetch: (_, init = {}) =>
        this.#whileAlive(
          () => Promise.resolve(),
          () => browser.answer(init),
        ),
      storage: {
        names: () => disk(() => storage.names()),
        read: (name) => disk(() => storage.read(name)),
        write: (name, text) => disk(() => storage.write(name, text)),
        remove: (name) => disk(() => storage.remove(name)),
      },
      onError: (error) => {
        if (!this.#isDead) browser.wrong ??= `the storage was said to fail: ${String(error)}`
      },
      onState: ({ item }) => {
        if (this.#isDead || !item?.restored || (item.state !== 'accepted' && item.state !== 'failed')) return
        browser.ended(item.body, item.error?.code ?? 'accepted')
      },
    })
  }

  send(lane: number): void {
    const text = `${this.#number}.${lane}.${this.#sent++}`
    try {
      const receipt = this.outbox.send(text, { lane: `l${lane}` })
      this.#browser.ends.set(text, undefined)
      const ended = (end: string) => {
        if (!this.#isDead) this.#browser.ended(text, end)
      }
      receipt.then(
        () => ended('accepted'),
        (error: unknown) => ended(error instanceof SseError ? error.code : String(error)),
      )
    } catch (error) {
      if (!(error instanceof SseError)) throw error
    }
  }

  hide(): void {
    this.#onHide()
  }

  die(): void {
    this.#isDead = true
    for (const cancel of [...this.#timers]) cancel()
    this.#end()
  }

  #setTimeout(run: () => void, ms: number): () => void {
    if (this.#isDead) return () => {}
    const cancel = this.#browser.clock.setTimeout(() => {
      this.#timers.delete(cancel)
      run()
    }, ms)
    this.#timers.add(cancel)
    return cancel
  }

  /** Requests for locks take their time, and keep their order. */
  readonly #request = async (name: string, options: LockOptions, run: (lock: Lock | null) => unknown) => {
    await this.#browser.wait(this.#browser.lockMs)
    if (this.#isDead) await new Promise(() => {})
    return this.#browser.locks.request(name, options, (lock) => {
      return this.#isDead ? undefined : Promise.race([run(lock), this.#death])
    })
  }

  async #whileAlive<T>(before: () => Promise<void>, ask: () => Promise<T>): Promise<T> {
    await before()
    if (this.#isDead) await new Promise(() => {})
    try {
      return await ask()
    } finally {
      if (this.#isDead) await new Promise(() => {})
    }
  }
}
