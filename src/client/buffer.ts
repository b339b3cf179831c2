import { SseError } from '../protocol/error.js'
import type { StreamItem } from '../protocol/event.js'

/** An item that is not handled yet: one that waits, or the one in the consumer's hand. */
interface Entry {
  readonly item: StreamItem
  readonly cost: number
  /** Where the cursor moves when the item is handled; `undefined` leaves it standing. */
  place: string | null | undefined
  next: Entry | undefined
}

type Result = IteratorResult<StreamItem, undefined>

const ITEM_OVERHEAD = 64
const MAX_WAITING = 1_000

/**
 * The bounded buffer between the loop and its one consumer, and the keeper of the handled cursor. It
 * outlives attempts.
 */
export class ItemBuffer {
  readonly #maxBytes: number
  readonly #waiting: ((result: Result | Promise<Result>) => void)[] = []
  #handed: Entry | undefined
  #first: Entry | undefined
  /** The newest of those that are not handled. */
  #last: Entry | undefined
  #bytes = 0
  #unpaid = 0
  #ended = false
  #error: SseError | undefined
  #room: Promise<void> | undefined
  #onRoom: (() => void) | undefined
  /** The place behind which the consumer has handled everything. */
  cursor: string | null

  constructor(maxBytes: number, cursor: string | null) {
    this.#maxBytes = maxBytes
    this.cursor = cursor
  }

  get full(): boolean {
    return this.#bytes >= this.#maxBytes
  }

  /** Resolves when the consumer has drained a full buffer to below half: for all who wait, a poll and what is beside it. */
  room(): Promise<void> {
    this.#room ??= new Promise((resolve) => {
      this.#onRoom = resolve
    })
    return this.#room
  }

  /**
   * The items that follow are cut from a text of this length, which the first of them to be kept pays
   * for: a runtime may keep the whole text alive for the sake of one short slice.
   */
  owe(length: number): void {
    this.#unpaid = length
  }

  push(item: StreamItem): void {
    if (this.#ended) return
    const size = item.type === 'event' ? item.id.length + item.event.length + item.data.length : item.id.length
    const entry: Entry = {
      item,
      cost: ITEM_OVERHEAD + Math.max(size, this.#unpaid),
      // A gap that names no place leaves the old one standing: to forget it would lose, in silence,
      // whatever a restart could still find out about.
      place: item.id || (item.type === 'event' ? null : undefined),
      next: undefined,
    }
    const last = this.#last
    this.#last = entry
    const resolve = this.#waiting.length > 0 && this.#waiting.shift()
    if (resolve) {
      this.#handed = entry
      resolve({ done: false, value: item })
      return
    }
    if (this.#first && last) last.next = entry
    else this.#first = entry
    this.#bytes += entry.cost
    this.#unpaid = 0
  }

  /** Moves the handled cursor to `id` as soon as all items before it are handled. */
  mark(id: string | null): void {
    if (this.#ended) return
    if (this.#last) this.#last.place = id
    else this.cursor = id
  }

  /** Asks for the next item, and thereby says that the one before is handled. */
  next(): Promise<Result> {
    if (this.#handed?.place !== undefined) this.cursor = this.#handed.place
    const entry = this.#first
    this.#handed = entry
    if (entry) {
      this.#first = entry.next
      entry.next = undefined // or one that has grown old would keep all behind it alive
      this.#bytes -= entry.cost
      if (this.#room && this.#bytes < this.#maxBytes / 2) {
        this.#room = undefined
        this.#onRoom?.()
      }
      return Promise.resolve({ done: false, value: entry.item })
    }
    this.#last = undefined
    if (this.#ended) return this.#takeEnd()
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(new SseError('OVERLOADED', `${MAX_WAITING} calls of next() are pending. Await each one.`))
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** Nothing follows: what is buffered is still handed out, then `error` once, then the end. */
  finish(error?: SseError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    for (const resolve of this.#waiting.splice(0)) resolve(this.#takeEnd())
  }

  /** The consumer is gone: nothing is handed out any more. */
  drop(): void {
    this.finish()
    this.#error = this.#handed = this.#first = this.#onRoom = undefined
  }

  #takeEnd(): Promise<Result> {
    const error = this.#error
    this.#error = undefined
    return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined })
  }
}
