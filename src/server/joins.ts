import type { Clock } from '../protocol/clock.js'
import type { Cursor } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import { named } from '../protocol/options.js'
import type { Pages } from './pages.js'
import { race } from './race.js'
import { type From, type Log, type Start, startAt, startAtOnce } from './reader.js'
import { storeError } from './store-error.js'
import type { Tail } from './tail.js'
import type { Tails } from './tails.js'

/** What a new reader asks for. */
export interface Asked {
  readonly cursor: Cursor | undefined
  readonly from: From
  /** Read only where there is something to wait for. */
  readonly signal: AbortSignal | undefined
  readonly replay?: ((behind: number) => Promise<boolean>) | undefined
}

/** A reader's place in a stream, and the tail that is held for it. */
export interface Entry {
  readonly log: Log
  readonly start: Start
  /** Lets go of the tail: by then a reader of its own must hold it. */
  readonly leave: () => void
}

/** Lets readers into streams, in time or not at all. */
export class Joins {
  readonly #tails: Tails
  readonly #pages: Pages
  readonly #options: { readonly clock: Clock; readonly maxReplay: number; readonly joinTimeoutMs: number }
  readonly #assertOpen: () => void
  /** One for all readers of a tail. */
  readonly #logs = new WeakMap<Tail, Log>()

  /** @param assertOpen - throws when nobody may join any more. */
  constructor(
    tails: Tails,
    pages: Pages,
    options: { readonly clock: Clock; readonly maxReplay: number; readonly joinTimeoutMs: number },
    assertOpen: () => void,
  ) {
    this.#tails = tails
    this.#pages = pages
    this.#options = options
    this.#assertOpen = assertOpen
  }

  /** @throws SseError `JOIN_TIMEOUT`, `STORE_UNAVAILABLE`, `OVERLOADED`, `CLOSED`. */
  async join(stream: string, asked: Asked): Promise<Entry> {
    this.#assertOpen()
    named('stream', stream)
    const tail = this.#tails.open(stream)
    const log = this.#logOf(tail)
    const guest = { wake() {} }
    tail.add(guest)
    const leave = () => {
      tail.remove(guest)
      this.#tails.release(tail)
    }
    const { cursor, from, replay } = asked
    const known = startAtOnce(log, cursor, from, replay !== undefined)
    if (known) return { log, start: known, leave }
    // From here on there is something to wait for.
    const { clock, joinTimeoutMs: ms } = this.#options
    const { signal } = asked
    const waiting = new AbortController()
    const late = () => new SseError('JOIN_TIMEOUT', `The subscription was not confirmed within ${ms} ms.`)
    try {
      const start = await race(startAt(log, cursor, from, replay, waiting.signal), { clock, ms, late, signal })
      this.#assertOpen()
      return { log, start, leave }
    } catch (error) {
      waiting.abort()
      leave()
      throw signal?.aborted ? error : storeError(error)
    }
  }

  #logOf(tail: Tail): Log {
    const log = this.#logs.get(tail) ?? { tail, pages: this.#pages, maxReplay: this.#options.maxReplay }
    this.#logs.set(tail, log)
    return log
  }
}
