import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { EventStore } from '../protocol/store.js'
import { Deadlines } from './deadlines.js'
import type { SourceFeed } from './source-feed.js'
import { Tail } from './tail.js'

/** What tails are made of. */
export interface TailsOptions {
  readonly store: EventStore
  readonly clock: Clock
  readonly ringBytes: number
  readonly maxStreams: number
  /** How long a stream that a source feeds stays joined without readers. */
  readonly idleMs: number
  /** Makes what brings a source's events to a stream; without a source, nothing. */
  readonly feed: ((stream: string) => SourceFeed) | undefined
}

/** The tails of the streams that have readers in this process, or lately had. */
export class Tails {
  readonly #options: TailsOptions
  readonly #tails = new Map<string, Tail>()
  /** The one that was asked for last. */
  #last: Tail | undefined
  /** Tails without readers whose source stays joined for a while; the one that waited longest comes first. */
  readonly #idle = new Set<Tail>()
  readonly #linger: Deadlines<Tail>

  constructor(options: TailsOptions) {
    this.#options = options
    this.#linger = new Deadlines(options.clock, options.idleMs, (tail) => void this.#drop(tail))
  }

  /** How many streams have readers. */
  get active(): number {
    return this.#tails.size - this.#idle.size
  }

  get(stream: string): Tail | undefined {
    // Mostly the same as before, and this is asked for with every event.
    if (this.#last?.stream !== stream) this.#last = this.#tails.get(stream)
    return this.#last
  }

  /** The tail of `stream`, begun if need be. Add a reader to it at once. @throws SseError `OVERLOADED`. */
  open(stream: string): Tail {
    const present = this.#tails.get(stream)
    if (present) {
      this.#idle.delete(present)
      this.#linger.delete(present)
      return present
    }
    const { store, clock, ringBytes, maxStreams, feed } = this.#options
    if (this.#tails.size >= maxStreams && !this.makeRoom()) {
      throw new SseError(
        'OVERLOADED',
        `All \`maxStreams\` (${maxStreams}) streams have readers; there is no room for one more.`,
      )
    }
    const tail = new Tail(stream, store, clock, ringBytes, feed?.(stream))
    this.#tails.set(stream, tail)
    // Whoever joins next shall try again, not inherit the failure.
    tail.ready.catch(() => void this.#drop(tail))
    return tail
  }

  /** Lets go of a tail that has no readers left: at once, or after a while when a source feeds it. */
  release(tail: Tail): void {
    if (tail.readers > 0 || this.#tails.get(tail.stream) !== tail) return
    if (tail.lingers) {
      tail.rest()
      this.#idle.add(tail)
      this.#linger.add(tail)
    } else void this.#drop(tail)
  }

  /** Ends the tail that was longest without readers. Returns whether there was one. */
  makeRoom(): boolean {
    for (const tail of this.#idle) {
      void this.#drop(tail)
      return true
    }
    return false
  }

  /** Resolves when all sources were left. */
  async close(): Promise<void> {
    await Promise.all([...this.#tails.values()].map((tail) => this.#drop(tail)))
  }

  #drop(tail: Tail): Promise<void> | undefined {
    if (this.#tails.get(tail.stream) === tail) this.#tails.delete(tail.stream)
    if (this.#last === tail) this.#last = undefined
    this.#idle.delete(tail)
    this.#linger.delete(tail)
    return tail.close()
  }
}
