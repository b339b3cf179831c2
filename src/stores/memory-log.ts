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

/** Room for so few is not worth giving back. */
const LEAST_ROOM = 4

/**
 * One stream: parallel columns, for an object per event would cost more than the event. They are rings: an event stands
 * where the low digits of its offset say, so that nothing is ever moved up.
 */
export class MemoryLog {
  readonly epoch = randomEpoch()
  #data: string[] = []
  #events: (string | undefined)[] = []
  #tags: number[] = []
  #times: number[] = []
  /** Of those that were not measured yet: the most that they can take. */
  #sizes: number[] = []
  /** The length of the columns, a power of two, less one; -1 while there are none. */
  #mask = -1
  #first = 1
  #head = 0
  /** The offset of the last that is measured, as all before it. */
  #measured = 0
  #firstTag = 0
  #headTag = 0
  #keys: Map<string, number> | undefined
  #keyOf: Map<number, string> | undefined
  /** What is held, or more: never less. */
  bytes = 0
  sealedUntil = Number.POSITIVE_INFINITY

  get head(): number {
    return this.#head
  }

  get first(): number {
    return this.#first
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
      return new Entered(epoch, known, this.#tags[known & this.#mask] ?? 0, true, 0)
    }
    const { tag } = stamp
    stamp.tag = tagAfter(tag)
    const previousTag = this.#headTag
    const size = MOST_BYTES * (event === undefined ? data.length : data.length + event.length)
    if (this.#head - this.#first === this.#mask) this.#resize(Math.max(LEAST_ROOM, 2 * (this.#mask + 1)))
    const offset = ++this.#head
    const at = offset & this.#mask
    this.#data[at] = data
    this.#events[at] = event
    this.#tags[at] = tag
    this.#times[at] = stamp.now
    this.#sizes[at] = size
    this.#headTag = tag
    this.bytes += size
    if (key !== undefined) this.#remember(key, offset)
    return new Entered(epoch, offset, tag, false, previousTag)
  }

  view(): StreamView {
    const { epoch, first, head, sealed } = this
    return { epoch, first, firstTag: this.#firstTag, head, headTag: this.#headTag, sealed }
  }

  /** Measures what is not measured yet. Not done for each event: it took a fifth of all that a publish takes. */
  measure(): void {
    for (let offset = Math.max(this.#measured + 1, this.#first); offset <= this.#head; offset++) {
      const at = offset & this.#mask
      const event = this.#events[at]
      const size = utf8Length(this.#data[at] ?? '') + (event === undefined ? 0 : utf8Length(event))
      this.bytes -= (this.#sizes[at] ?? 0) - size
      this.#sizes[at] = size
    }
    this.#measured = this.#head
  }

  /** Measure it first. */
  page(offset: number, { limit, maxBytes = Number.POSITIVE_INFINITY }: ReadOptions): Page {
    const events: StoredEvent[] = []
    let bytes = 0
    const from = Math.max(offset + 1, this.#first)
    for (let next = from; next <= this.#head && events.length < limit; next++) {
      const at = next & this.#mask
      bytes += this.#sizes[at] ?? 0
      if (bytes > maxBytes && events.length > 0) break
      events.push({ offset: next, tag: this.#tags[at] ?? 0, event: this.#events[at], data: this.#data[at] ?? '' })
    }
    return { ...this.view(), tag: this.#tagAt(offset), events }
  }

  trim({ maxEvents, maxBytes, maxAgeMs }: Limits, now: number): void {
    if (this.bytes > maxBytes) this.measure()
    while (
      this.#first <= this.#head &&
      (this.#head - this.#first >= maxEvents ||
        this.bytes > maxBytes ||
        now - (this.#times[this.#first & this.#mask] ?? now) >= maxAgeMs)
    ) {
      this.#trimOne()
    }
    this.#giveBack()
  }

  clear(): void {
    while (this.#first <= this.#head) this.#trimOne()
    this.#giveBack()
  }

  #trimOne(): void {
    const at = this.#first & this.#mask
    this.bytes -= this.#sizes[at] ?? 0
    this.#firstTag = this.#tags[at] ?? 0
    this.#data[at] = ''
    this.#events[at] = undefined
    const key = this.#keyOf?.get(this.#first)
    if (key !== undefined) {
      this.#keys?.delete(key)
      this.#keyOf?.delete(this.#first)
    }
    this.#first++
  }

  /** Half of the room, as often as no more than a quarter would be used. */
  #giveBack(): void {
    const used = this.#head - this.#first + 1
    let room = this.#mask + 1
    while (room > LEAST_ROOM && used * 4 <= room) room /= 2
    if (room <= this.#mask) this.#resize(used === 0 ? 0 : room)
  }

  #resize(room: number): void {
    const data = new Array<string>(room)
    const events = new Array<string | undefined>(room)
    const tags = new Array<number>(room)
    const times = new Array<number>(room)
    const sizes = new Array<number>(room)
    // Each column by a line of its own: one that all share makes V8 keep each time as an object, in every log.
    for (let offset = this.#first; offset <= this.#head; offset++) {
      const from = offset & this.#mask
      const to = offset & (room - 1)
      data[to] = this.#data[from] as string
      events[to] = this.#events[from]
      tags[to] = this.#tags[from] as number
      times[to] = this.#times[from] as number
      sizes[to] = this.#sizes[from] as number
    }
    this.#data = data
    this.#events = events
    this.#tags = tags
    this.#times = times
    this.#sizes = sizes
    this.#mask = room - 1
  }

  #remember(key: string, offset: number): void {
    this.#keys ??= new Map()
    this.#keyOf ??= new Map()
    this.#keys.set(key, offset)
    this.#keyOf.set(offset, key)
  }

  #tagAt(offset: number): number | undefined {
    if (offset === this.#first - 1) return this.#firstTag
    if (offset === this.#head) return this.#headTag
    return offset >= this.#first && offset <= this.#head ? this.#tags[offset & this.#mask] : undefined
  }
}

/** Where an event stands. A class and not a literal, for the sake of its memory: see `publisher.ts`. */
class Entered implements Appended {
  readonly epoch: string
  readonly offset: number
  readonly tag: number
  readonly duplicate: boolean
  readonly previousTag: number

  constructor(epoch: string, offset: number, tag: number, duplicate: boolean, previousTag: number) {
    this.epoch = epoch
    this.offset = offset
    this.tag = tag
    this.duplicate = duplicate
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
