import type { Place } from '../protocol/cursor.js'
import type { EventStore, Page, StreamView } from '../protocol/store.js'
import { type Block, BlockBuilder } from './block.js'
import { readDense } from './dense.js'

/** How many events a page holds: pages begin at multiples of it, so that readers share them. */
export const PAGE_EVENTS = 256
const PAGE_BYTES = 256 * 1024
/** What all remembered pages of a hub may hold together. */
const CACHE_BYTES = 4 * 1024 * 1024

/** A page read from the store, encoded. */
export interface EncodedPage {
  readonly view: StreamView
  readonly blocks: readonly Block[]
  /** The tag at `offset`; `undefined` where this page does not know it. */
  tagAt(offset: number): number | undefined
  readonly bytes: number
  /** Whether nothing can be added to it. One that is not is good for as long as the stream has not moved. */
  readonly whole: boolean
}

/** Which log a page is of: a stream, a sign that changes when its log may have been replaced, and how far it is known. */
interface LogId {
  readonly stream: string
  readonly generation: string
  readonly view: StreamView
}

/**
 * History for readers behind the ring. Pages are aligned, and each is read and encoded once for all who
 * need it at the same time; complete ones are remembered for those who come a little later.
 */
export class Pages {
  readonly #store: EventStore
  readonly #reads = new Map<string, Promise<EncodedPage | null>>()
  readonly #cache = new Map<string, EncodedPage>()
  #cached = 0

  constructor(store: EventStore) {
    this.#store = store
  }

  /**
   * The page that holds the events after `place`, and the tag there; `null` when the store has no
   * record of the stream.
   */
  async after({ stream, generation, view }: LogId, place: Place): Promise<EncodedPage | null> {
    const { epoch, offset } = place
    const log = `${generation}.${epoch}.${stream}`
    const begin = offset - (offset % PAGE_EVENTS)
    const aligned = await this.#page(stream, epoch, begin, log, view)
    if (aligned === null || begin === offset || lastOf(aligned) > offset) return aligned
    // The page stops short of the place: its events are large, or it was read when the log ended there. What it
    // says of the head is not asked, for a remembered page is older than the place.
    return this.#page(stream, epoch, offset, log, view)
  }

  /** The present view and the tag at `offset`. */
  async look(stream: string, offset: number): Promise<Page | null> {
    return readDense(this.#store, stream, offset, { limit: 0 })
  }

  #page(
    stream: string,
    epoch: string,
    offset: number,
    log: string,
    view: StreamView,
  ): EncodedPage | Promise<EncodedPage | null> {
    const key = `${offset}.${log}`
    const cached = this.#cache.get(key)
    if (cached && (cached.whole || isSame(cached.view, view))) {
      this.#cache.delete(key)
      this.#cache.set(key, cached)
      return cached
    }
    let read = this.#reads.get(key)
    if (!read) {
      read = this.#read(stream, epoch, offset, key).finally(() => this.#reads.delete(key))
      this.#reads.set(key, read)
    }
    return read
  }

  async #read(stream: string, epoch: string, offset: number, key: string): Promise<EncodedPage | null> {
    const limit = PAGE_EVENTS - (offset % PAGE_EVENTS)
    const page = await readDense(this.#store, stream, offset, { limit, maxBytes: PAGE_BYTES })
    if (page === null) return null
    const encoded = encodePage(page, offset, limit)
    // One that was trimmed says where the log begins: it is read anew.
    if (page.epoch === epoch && page.first <= offset + 1 && page.events.length > 0) this.#remember(key, encoded)
    return encoded
  }

  #remember(key: string, page: EncodedPage): void {
    this.#cached -= this.#cache.get(key)?.bytes ?? 0
    this.#cache.set(key, page)
    this.#cached += page.bytes
    for (const [oldest, { bytes }] of this.#cache) {
      if (this.#cached <= CACHE_BYTES) return
      this.#cache.delete(oldest)
      this.#cached -= bytes
    }
  }
}

function isSame(a: StreamView, b: StreamView): boolean {
  return a.head === b.head && a.headTag === b.headTag && a.epoch === b.epoch && a.sealed === b.sealed
}

function lastOf(page: EncodedPage): number {
  return page.blocks.at(-1)?.last ?? Number.NEGATIVE_INFINITY
}

function encodePage(page: Page, asked: number, limit: number): EncodedPage {
  const { epoch, first, firstTag, head, headTag, sealed, events } = page
  // Where the oldest retained event comes after the place asked for, the page begins before that one.
  const begin = Math.max(asked, first - 1)
  const beginTag = begin === asked ? page.tag : firstTag
  const builder = new BlockBuilder(epoch, begin, beginTag ?? 0)
  const blocks = events.flatMap((event) => builder.add(event)).concat(builder.take())
  return {
    view: { epoch, first, firstTag, head, headTag, sealed },
    blocks,
    bytes: blocks.reduce((sum, block) => sum + block.bytes.length, 0),
    whole: events.length === limit || (blocks.at(-1)?.end.offset ?? Number.NEGATIVE_INFINITY) < head,
    tagAt(offset) {
      if (offset === begin) return beginTag
      if (offset === first - 1) return firstTag
      if (offset === head) return headTag
      for (const block of blocks) {
        const tag = block.tagAt(offset)
        if (tag !== undefined) return tag
      }
      return undefined
    },
  }
}
