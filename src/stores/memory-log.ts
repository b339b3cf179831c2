import { randomEpoch, tagAfter } from '../protocol/cursor.js'
import type { AppendEvent, Appended, Page, ReadOptions, StoredEvent, StreamView } from '../protocol/store.js'

/** What one stream may hold. */
export interface Limits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxAgeMs: number
}

/** What is written beside an event: its time, and its tag, which is used up with it. */
export interface Stamp {
  readonly now: number
  tag: number
}

/** One stream: parallel columns, for an object per event would cost more than the event. */
export class MemoryLog {
  readonly epoch = randomEpoch()
  readonly #data: string[] = []
  readonly #events: (string | undefined)[] = []
  readonly #tags: number[] = []
  readonly #times: number[] = []
  /** Of those that were not measured yet: the most that they can take. */
  readonly #sizes: number[] = []
  /** How many entries are measured, from the beginning of the columns. */
  #measured = 0
  /** How many entries at the beginning of the columns are trimmed but not cut off yet. */
  #trimmed = 0
  /** The offset of the first entry of the columns. */
  #base = 1
  #firstTag = 0
  #headTag = 0
  #keys: Map<string, number> | undefined
  #keyOf: Map<number, string> | undefined
  /** What is held, or more: never less. */
  bytes = 0
  sealedUntil = Number.POSITIVE_INFINITY

  get head(): number {
    return this.#base + this.#tags.length - 1
  }

  get first(): number {
    return this.#base + this.#trimmed
  }

  get sealed(): boolean {
    return this.sealedUntil !== Number.POSITIVE_INFINITY
  }

  seal(until: number): void {
    if (!this.sealed) this.sealedUntil = until
  }

  append(events: readonly AppendEvent[], stamp: Stamp): Appended[] {
    if (events.length === 0) return []
    // There is mostly one, and an array that begins with it is made faster than one that grows from nothing.
    const places = [this.#append(events[0] as AppendEvent, stamp)]
    for (let at = 1; at < events.length; at++) places.push(this.#append(events[at] as AppendEvent, stamp))
    return places
  }

  #append({ event, data, key }: AppendEvent, stamp: Stamp): Appended {
    const { epoch } = this
    const known = key === undefined ? undefined : this.#keys?.get(key)
    if (known !== undefined) {
      return { epoch, offset: known, tag: this.#tags[known - this.#base] ?? 0, duplicate: true, previousTag: 0 }
    }
    const { tag } = stamp
    stamp.tag = tagAfter(tag)
    const previousTag = this.#headTag
    const size = MOST_BYTES * (event === undefined ? data.length : data.length + event.length)
    this.#data.push(data)
    this.#events.push(event)
    this.#tags.push(tag)
    this.#times.push(stamp.now)
    this.#sizes.push(size)
    this.#headTag = tag
    this.bytes += size
    const offset = this.head
    if (key !== undefined) this.#remember(key, offset)
    return new Entered(epoch, offset, tag, previousTag)
  }

  view(): StreamView {
    const { epoch, first, head, sealed } = this
    return { epoch, first, firstTag: this.#firstTag, head, headTag: this.#headTag, sealed }
  }

  /** Measures what is not measured yet. Not done for each event: it took a fifth of all that a publish takes. */
  measure(): void {
    for (let at = Math.max(this.#measured, this.#trimmed); at < this.#sizes.length; at++) {
      const event = this.#events[at]
      const size = utf8Length(this.#data[at] ?? '') + (event === undefined ? 0 : utf8Length(event))
      this.bytes -= (this.#sizes[at] ?? 0) - size
      this.#sizes[at] = size
    }
    this.#measured = this.#sizes.length
  }

  /** Measure it first. */
  page(offset: number, { limit, maxBytes = Number.POSITIVE_INFINITY }: ReadOptions): Page {
    const events: StoredEvent[] = []
    let bytes = 0
    const from = Math.max(offset + 1, this.first)
    for (let next = from; next <= this.head && events.length < limit; next++) {
      const at = next - this.#base
      bytes += this.#sizes[at] ?? 0
      if (bytes > maxBytes && events.length > 0) break
      events.push({ offset: next, tag: this.#tags[at] ?? 0, event: this.#events[at], data: this.#data[at] ?? '' })
    }
    return { ...this.view(), tag: this.#tagAt(offset), events }
  }

  trim({ maxEvents, maxBytes, maxAgeMs }: Limits, now: number): void {
    if (this.bytes > maxBytes) this.measure()
    while (
      this.first <= this.head &&
      (this.head - this.first >= maxEvents ||
        this.bytes > maxBytes ||
        now - (this.#times[this.#trimmed] ?? now) >= maxAgeMs)
    ) {
      this.#trimOne()
    }
    // Cutting off half of the columns at once keeps the cost per event constant.
    if (this.first > this.head || (this.#trimmed > 64 && this.#trimmed * 2 > this.#tags.length)) this.#cut()
  }

  clear(): void {
    while (this.first <= this.head) this.#trimOne()
    this.#cut()
  }

  #trimOne(): void {
    const at = this.#trimmed
    this.bytes -= this.#sizes[at] ?? 0
    this.#firstTag = this.#tags[at] ?? 0
    this.#data[at] = ''
    const key = this.#keyOf?.get(this.first)
    if (key !== undefined) {
      this.#keys?.delete(key)
      this.#keyOf?.delete(this.first)
    }
    this.#trimmed++
  }

  #cut(): void {
    for (const column of [this.#data, this.#events, this.#tags, this.#times, this.#sizes])
      column.splice(0, this.#trimmed)
    this.#base += this.#trimmed
    this.#measured = Math.max(0, this.#measured - this.#trimmed)
    this.#trimmed = 0
  }

  #remember(key: string, offset: number): void {
    this.#keys ??= new Map()
    this.#keyOf ??= new Map()
    this.#keys.set(key, offset)
    this.#keyOf.set(offset, key)
  }

  #tagAt(offset: number): number | undefined {
    if (offset === this.first - 1) return this.#firstTag
    if (offset === this.head) return this.#headTag
    return offset >= this.first && offset <= this.head ? this.#tags[offset - this.#base] : undefined
  }
}

/** Where a new event was put. A class, not a literal, which V8 may come to keep too long: an event then costs more. */
class Entered implements Appended {
  readonly epoch: string
  readonly offset: number
  readonly tag: number
  readonly duplicate = false
  readonly previousTag: number

  constructor(epoch: string, offset: number, tag: number, previousTag: number) {
    this.epoch = epoch
    this.offset = offset
    this.tag = tag
    this.previousTag = previousTag
  }
}

/** The most that one character takes as UTF-8. */
const MOST_BYTES = 3

const encoder = new TextEncoder()
declare const Buffer: { byteLength(text: string): number } | undefined

function utf8Length(text: string): number {
  return typeof Buffer === 'undefined' ? encoder.encode(text).length : Buffer.byteLength(text)
}
