import type { Gap } from '../protocol/control.js'
import { eventItem } from '../protocol/event.js'
import { clampRetry, FIRST_RETRY_MS } from './backoff.js'
import type { ItemBuffer } from './buffer.js'

const LEAST_SILENCE_MS = 100
const MOST_SILENCE_MS = 3_600_000
/** One heartbeat may be late and one lost. */
const HEARTBEATS = 3

/** What an `EventStream` remembers between its attempts. */
export class Progress {
  readonly #buffer: ItemBuffer
  #lossIsNewest = false
  /** The place the next attempt resumes from. It moves with whole frames only. */
  received: string | null
  retryMs = FIRST_RETRY_MS
  /** How long the server may be silent, by what it last announced. */
  silenceMs: number | undefined
  /** Whether the server was ever heard to be a stream. */
  everReady = false
  /** Whether the headers were made anew since the stream was last ready. */
  refreshed = false
  /** Whether the cursor travels in the query. */
  byQuery: boolean

  constructor(buffer: ItemBuffer, byQuery: boolean) {
    this.#buffer = buffer
    this.received = buffer.cursor
    this.byQuery = byQuery
  }

  retry(ms: number): void {
    this.retryMs = clampRetry(ms)
  }

  heartbeat(ms: number): void {
    this.silenceMs = Math.min(MOST_SILENCE_MS, Math.max(LEAST_SILENCE_MS, HEARTBEATS * ms))
  }

  event(name: string | undefined, data: string, id: string | undefined): void {
    this.#move(id)
    this.#lossIsNewest = false
    this.#buffer.push(eventItem(this.received ?? '', name, data))
  }

  gap({ reason, missed }: Gap, id: string | undefined): void {
    this.#move(id)
    this.#lossIsNewest = false
    // Where the gap names no place, the old one stands: to forget it would hide what a restart could still find out.
    this.#buffer.push({ type: 'gap', id: id ?? this.received ?? '', reason, missed })
  }

  /** A place, if it is one, that comes without an item. */
  place(id: string | undefined): void {
    if (id === undefined) return
    this.#move(id)
    this.#buffer.mark(this.received)
  }

  /**
   * The server did not continue from the place this client has: what lies between is lost. Said once
   * until something follows, or a server that never continues would be announced without end.
   */
  lost(id: string | undefined): void {
    if (this.#lossIsNewest) this.place(id)
    else this.gap({ reason: 'invalid', missed: null }, id)
    this.#lossIsNewest = true
  }

  #move(id: string | undefined): void {
    if (id !== undefined) this.received = id || null
  }
}
