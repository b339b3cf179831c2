import { SseError } from '../protocol/error.js'
import type { StreamItem } from '../protocol/event.js'

/** A place that comes without an item: it counts as handled once all items before it are. */
interface Mark {
  readonly type: 'mark'
  id: string | null
}

type Result = IteratorResult<StreamItem, undefined>

interface Waiter {
  resolve(result: Result): void
  reject(error: SseError): void
}

const DONE: Result = { done: true, value: undefined }
const ITEM_OVERHEAD = 64
const MAX_WAITING = 1_000

/**
 * The bounded buffer between the loop and its one consumer, and the keeper of the handled cursor. It
 * outlives attempts.
 */
export class ItemBuffer {
  readonly #maxBytes: number
  readonly #entries: (StreamItem | Mark)[] = []
  readonly #costs: number[] = []
  readonly #waiting: Waiter[] = []
  #head = 0
  #bytes = 0
  #unpaid = 0
  #cursor: string | null
  #handed: StreamItem | undefined
  #ended = false
  #error: SseError | undefined
  #onRoom: (() => void) | undefined

  constructor(maxBytes: number, cursor: string | null) {
    this.#maxBytes = maxBytes
    this.#cursor = cursor
  }

  /** The place behind which the consumer has handled everything. */
  get cursor(): string | null {
    return this.#cursor
  }

  get full(): boolean {
    return this.#bytes >= this.#maxBytes
  }

  /** Resolves when the consumer has drained a full buffer to below half. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
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
    const waiter = this.#waiting.shift()
    if (waiter) {
      this.#clear() // at most a mark that this item passes
      this.#handed = item
      waiter.resolve({ done: false, value: item })
      return
    }
    const cost = ITEM_OVERHEAD + Math.max(sizeOf(item), this.#unpaid)
    this.#unpaid = 0
    this.#append(item, cost)
  }

  /** Moves the handled cursor to `id` as soon as all items before it are handled. */
  mark(id: string | null): void {
    if (this.#ended) return
    const last = this.#entries.at(-1)
    if (last?.type === 'mark') last.id = id
    else if (last || this.#handed) this.#append({ type: 'mark', id }, 0)
    else this.#cursor = id
  }

  /** Asks for the next item, and thereby says that the one before is handled. */
  next(): Promise<Result> {
    if (this.#handed) {
      this.#pass(this.#handed)
      this.#handed = undefined
    }
    const item = this.#shift()
    if (item) {
      this.#handed = item
      return Promise.resolve({ done: false, value: item })
    }
    if (this.#ended) return this.#takeEnd()
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(new SseError('OVERLOADED', `${MAX_WAITING} calls of next() are pending. Await each one.`))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  /** Nothing follows: what is buffered is still handed out, then `error` once, then the end. */
  finish(error?: SseError): void {
    if (this.#ended) return
    this.#ended = true
    const first = error && this.#waiting.shift()
    if (first) first.reject(error)
    else this.#error = error
    for (const waiter of this.#waiting.splice(0)) waiter.resolve(DONE)
  }

  /** The consumer is gone: nothing is handed out any more. */
  drop(): void {
    this.#ended = true
    this.#error = undefined
    this.#handed = undefined
    this.#onRoom = undefined
    this.#clear()
    for (const waiter of this.#waiting.splice(0)) waiter.resolve(DONE)
  }

  #takeEnd(): Promise<Result> {
    const error = this.#error
    this.#error = undefined
    return error ? Promise.reject(error) : Promise.resolve(DONE)
  }

  #append(entry: StreamItem | Mark, cost: number): void {
    this.#entries.push(entry)
    this.#costs.push(cost)
    this.#bytes += cost
  }

  #shift(): StreamItem | undefined {
    for (;;) {
      const entry = this.#entries[this.#head]
      if (!entry) return undefined
      this.#bytes -= this.#costs[this.#head] ?? 0
      this.#head++
      if (this.#head === this.#entries.length) this.#clear()
      else if (this.#head === 1_024) this.#compact()
      this.#offerRoom()
      if (entry.type !== 'mark') return entry
      this.#cursor = entry.id
    }
  }

  #pass(item: StreamItem): void {
    // A gap that names no place leaves the old one standing: to forget it would lose, in silence,
    // whatever a restart could still find out about.
    if (item.id !== '' || item.type === 'event') this.#cursor = item.id || null
  }

  #offerRoom(): void {
    if (this.#onRoom === undefined || this.#bytes >= this.#maxBytes / 2) return
    const resume = this.#onRoom
    this.#onRoom = undefined
    resume()
  }

  #compact(): void {
    this.#entries.splice(0, this.#head)
    this.#costs.splice(0, this.#head)
    this.#head = 0
  }

  #clear(): void {
    this.#entries.length = 0
    this.#costs.length = 0
    this.#head = 0
    this.#bytes = 0
  }
}

function sizeOf(item: StreamItem): number {
  return item.type === 'event' ? item.id.length + item.event.length + item.data.length : item.id.length
}
