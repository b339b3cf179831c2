import type { Clock } from '../../src/protocol/clock.js'
import type { EventStore, Hint, ReadOptions } from '../../src/protocol/store.js'

type Verb = 'append' | 'open' | 'read' | 'watch' | 'seal'

/** A store around another one, as far away and as unreliable as the test wants it. */
export class FarStore implements EventStore {
  inner: EventStore
  pollMs: number | undefined
  /** How long each verb takes, in milliseconds of `clock`; half of it before and half after the inner store is asked. */
  delayMs = 0
  /** Whether a call fails; asked each time. */
  fails: (verb: Verb) => boolean = () => false
  /** Whether a hint gets through; asked each time. */
  hints: () => boolean = () => true
  /** A verb in here never answers. */
  readonly stuck = new Set<Verb>()
  readonly calls: Record<Verb, number> = { append: 0, open: 0, read: 0, watch: 0, seal: 0 }
  watching = 0
  readonly #clock: Clock

  constructor(inner: EventStore, clock: Clock) {
    this.inner = inner
    this.#clock = clock
  }

  append(stream: string, events: Parameters<EventStore['append']>[1]) {
    return this.#far('append', () => this.inner.append(stream, events))
  }

  open(stream: string) {
    return this.#far('open', () => this.inner.open(stream))
  }

  read(stream: string, offset: number, options: ReadOptions) {
    return this.#far('read', () => this.inner.read(stream, offset, options))
  }

  seal(stream: string) {
    return this.#far('seal', () => this.inner.seal(stream))
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    const unwatch = await this.#far('watch', () => this.inner.watch(stream, (to) => this.hints() && hint(to)))
    this.watching++
    return () => {
      this.watching--
      unwatch()
    }
  }

  async #far<T>(verb: Verb, run: () => T | Promise<T>): Promise<T> {
    this.calls[verb]++
    if (this.stuck.has(verb)) return new Promise(() => {})
    await this.#pass(this.delayMs / 2)
    if (this.fails(verb)) throw new Error(`${verb}: the store is away`)
    const result = await run()
    await this.#pass(this.delayMs / 2)
    return result
  }

  #pass(ms: number): Promise<void> | undefined {
    return ms > 0 ? new Promise((resolve) => this.#clock.setTimeout(resolve, ms)) : undefined
  }
}
