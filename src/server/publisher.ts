import { type Clock, nextTurn } from '../protocol/clock.js'
import { formatCursor } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended, AppendOptions, EventStore } from '../protocol/store.js'
import { Deadlines } from './deadlines.js'
import type { Diagnostics } from './diagnostics.js'
import type { Published, PublishOptions } from './hub.js'
import { weight } from './prepare.js'
import { storeError } from './store-error.js'

/** So much published within one turn of the event loop, and `publish` waits for the next: else nothing is ever written. */
const TURN_BYTES = 256 * 1024

export interface PublisherOptions {
  store: EventStore
  clock: Clock
  maxPendingBytes: number
  publishTimeoutMs: number
  diagnostics: Diagnostics
  /** Frees room in the store, if that can be done without harm. */
  makeRoom: () => boolean
  /** Told what was stored, in the order of the store's answers. */
  stored: (stream: string, events: readonly AppendEvent[], places: readonly Appended[]) => void
}

/** Brings events into the store: checked, bounded, by a deadline, and never faster than the loop turns. */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #waits: Deadlines<{ late(): void }>
  #pendingBytes = 0
  #turnBytes = 0
  #turn: Promise<void> | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#waits = new Deadlines(options.clock, options.publishTimeoutMs, (wait) => wait.late())
  }

  /**
   * Stores what is checked already. At once where the store answers at once: a promise for each event would cost as
   * much as the event.
   */
  append(stream: string, events: readonly AppendEvent[], options?: PublishOptions): Published[] | Promise<Published[]> {
    options?.signal?.throwIfAborted()
    if (events.length === 0) return []
    const bytes = weight(events)
    const { maxPendingBytes } = this.#options
    if (this.#pendingBytes + bytes > maxPendingBytes) {
      throw new SseError(
        'OVERLOADED',
        `Publishes under way hold more than \`maxPendingBytes\` (${maxPendingBytes}). Await each publish before the next, or publish smaller batches.`,
      )
    }
    const places = this.#append(stream, events, options)
    if (!(places instanceof Promise) && this.#turnBytes + bytes <= TURN_BYTES) {
      return this.#stored(stream, events, places, bytes, options)
    }
    return this.#later(stream, events, places, bytes, options)
  }

  /** The bytes are pending until the store has answered, and the loop has turned if it must. */
  async #later(
    stream: string,
    events: readonly AppendEvent[],
    under: readonly Appended[] | Promise<readonly Appended[]>,
    bytes: number,
    options: PublishOptions | undefined,
  ): Promise<Published[]> {
    this.#pendingBytes += bytes
    try {
      // Not awaited when at hand: what is stored must be offered in the order of the answers.
      const places = under instanceof Promise ? await under : under
      const published = this.#stored(stream, events, places, bytes, options)
      if (this.#turnBytes > TURN_BYTES) await this.#nextTurn()
      return published
    } finally {
      this.#pendingBytes -= bytes
    }
  }

  #stored(
    stream: string,
    events: readonly AppendEvent[],
    places: readonly Appended[],
    bytes: number,
    options: PublishOptions | undefined,
  ): Published[] {
    const published = publishedAt(places)
    // What is in the user's own transaction is not there yet, and may never be: the store hints at it once it is.
    if (options?.transaction === undefined) this.#options.stored(stream, events, places)
    this.#options.diagnostics.published(stream, published, bytes)
    this.#turnBytes += bytes
    return published
  }

  #append(
    stream: string,
    events: readonly AppendEvent[],
    options: PublishOptions | undefined,
  ): readonly Appended[] | Promise<readonly Appended[]> {
    let stored: readonly Appended[] | Promise<readonly Appended[]>
    try {
      stored = this.#options.store.append(stream, events, options as AppendOptions)
    } catch (error) {
      const isFull = error instanceof SseError && error.code === 'OVERLOADED'
      if (isFull && this.#options.makeRoom()) return this.#append(stream, events, options)
      throw storeError(error)
    }
    return stored instanceof Promise ? this.#confirmed(stored, options?.signal) : stored
  }

  /** Waits for the store, but no longer than the deadline that all publishes share. */
  #confirmed(stored: Promise<readonly Appended[]>, signal: AbortSignal | undefined): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => settle(() => reject(error))
      const aborted = () => fail(signal?.reason)
      const wait = {
        late: () => {
          const ms = this.#options.publishTimeoutMs
          fail(
            new SseError(
              'PUBLISH_TIMEOUT',
              `The store did not confirm within ${ms} ms: the event may be stored or not.`,
            ),
          )
        },
      }
      const settle = (how: () => void) => {
        this.#waits.delete(wait)
        signal?.removeEventListener('abort', aborted)
        how()
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waits.add(wait)
      stored.then(
        (places) => settle(() => resolve(places)),
        (error: unknown) => fail(storeError(error)),
      )
    })
  }

  #nextTurn(): Promise<void> {
    this.#turn ??= new Promise((resolve) =>
      nextTurn(() => {
        this.#turn = undefined
        this.#turnBytes = 0
        resolve()
      }),
    )
    return this.#turn
  }
}

/** There is mostly one, and an array that begins with it is made in less time and room than one that grows from nothing. */
function publishedAt(places: readonly Appended[]): Published[] {
  const published = [new PublishedEvent(places[0] as Appended)]
  for (let at = 1; at < places.length; at++) published.push(new PublishedEvent(places[at] as Appended))
  return published
}

/**
 * Where an event went, as a plain object: users hand it on. What each publish makes comes of constructors, and not of
 * literals: V8 remembers of a literal whether its objects survived, and once a crowd that joined has made them, it puts
 * all that follow into the old generation, for good. A publish then costs 1.7 times as much.
 */
const publishedEvent: object = function (
  this: { -readonly [K in keyof Published]: Published[K] },
  place: Appended,
): void {
  this.cursor = formatCursor(place)
  this.duplicate = place.duplicate
}
const PublishedEvent = publishedEvent as { new (place: Appended): Published; prototype: object }
PublishedEvent.prototype = Object.prototype
