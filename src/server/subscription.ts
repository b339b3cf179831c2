import { turn } from '../protocol/clock.js'
import { GAP, parseGap } from '../protocol/control.js'
import { type Cursor, formatCursor, type Place } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import { eventItem, type StreamItem } from '../protocol/event.js'
import type { EventStore, StoredEvent } from '../protocol/store.js'
import { readDense } from './dense.js'
import { gapItem, type Log, placeAt, type Start, samePlace } from './reader.js'
import type { TailReader } from './readers.js'
import { resume } from './resume.js'
import type { Tail } from './tail.js'

const MAX_PENDING = 1_000
const PAGE = { limit: 100, maxBytes: 256 * 1024 }

/** A reader inside this process: an `AsyncIterable` that ends when the stream is sealed or the hub closes. */
export interface Subscription extends AsyncIterableIterator<StreamItem>, AsyncDisposable {
  /** The place after the last item that was handled: it moves when the next item is asked for. */
  readonly cursor: Cursor
  /** Ends the iteration. Idempotent. */
  close(): void
}

/** Reads pages of events from the store, and waits on the tail in between. */
export class StreamSubscription implements Subscription, TailReader {
  readonly #log: Log
  readonly #store: EventStore
  readonly #onClose: () => void
  #items: StreamItem[] = []
  #place: Place
  #cursor: Cursor
  #handing: Cursor | undefined
  #turn: Promise<unknown> = Promise.resolve()
  #waiting: (() => void) | undefined
  #closed = false
  #pending = 0

  constructor(log: Log, store: EventStore, start: Start, onClose: () => void) {
    this.#log = log
    this.#store = store
    this.#onClose = onClose
    this.#place = start.place
    this.#cursor = formatCursor(start.place)
    if (start.gap) this.#items.push(gapItem(start.gap, start.place))
    log.tail.add(this)
  }

  get cursor(): Cursor {
    return this.#cursor
  }

  wake(): void {
    this.#waiting?.()
    this.#waiting = undefined
  }

  next(): Promise<IteratorResult<StreamItem, undefined>> {
    if (this.#pending >= MAX_PENDING) {
      return Promise.reject(new SseError('OVERLOADED', `${MAX_PENDING} calls of next() are pending. Await each one.`))
    }
    this.#pending++
    const run = () => this.#next().finally(() => this.#pending--)
    const result = this.#turn.then(run, run)
    this.#turn = result
    return result
  }

  return(): Promise<IteratorResult<StreamItem, undefined>> {
    this.close()
    return Promise.resolve({ done: true, value: undefined })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#items = []
    this.#log.tail.remove(this)
    this.wake()
    this.#onClose()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  async #next(): Promise<IteratorResult<StreamItem, undefined>> {
    if (this.#handing !== undefined) this.#cursor = this.#handing
    this.#handing = undefined
    while (!this.#closed) {
      const item = this.#items.shift()
      if (item) {
        this.#handing = item.id
        return { done: false, value: item }
      }
      if (await this.#fill()) this.close()
    }
    return { done: true, value: undefined }
  }

  /** Gets more items, or waits. Returns whether the stream is complete. */
  async #fill(): Promise<boolean> {
    const { tail, maxReplay } = this.#log
    const place = this.#place
    const { view } = tail
    if (samePlace(place, { epoch: view.epoch, offset: view.head, tag: view.headTag })) {
      if (view.sealed) return true
      await this.#wait()
      return false
    }
    try {
      const page = await readDense(this.#store, tail.stream, place.offset, PAGE)
      if (page === null) {
        await lookAgain(tail)
        return false
      }
      const { gap, after } = resume(place, page, page.tag, maxReplay)
      if (gap && gap.reason !== 'limit') {
        const next = await placeAt(this.#log, page, after, undefined)
        if (!next) return false
        this.#place = next
        this.#items.push(gapItem(gap, next))
      } else if (page.events.length > 0) {
        for (const event of page.events) this.#items.push(itemOf(page.epoch, event))
        const last = page.events.at(-1)
        if (last) this.#place = { epoch: page.epoch, offset: last.offset, tag: last.tag }
      } else await lookAgain(tail)
    } catch {
      tail.storeFailed()
      await this.#wait()
    }
    return false
  }

  #wait(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }
}

/** A store that contradicts itself is asked again and again; the loop must turn meanwhile. */
async function lookAgain(tail: Tail): Promise<void> {
  await tail.refresh()
  await turn()
}

/** An event of the log as a reader is handed it. A gap record is a gap, whenever it is read. */
export function itemOf(epoch: string, event: StoredEvent): StreamItem {
  const id = formatCursor({ epoch, offset: event.offset, tag: event.tag })
  return event.event === GAP ? { type: 'gap', id, ...parseGap(event.data) } : eventItem(id, event.event, event.data)
}
