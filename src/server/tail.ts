import { type Clock, nextTurn } from '../protocol/clock.js'
import { type Place, randomEpoch } from '../protocol/cursor.js'
import type { AppendEvent, Appended, EventStore, Page, StreamView } from '../protocol/store.js'
import { type Block, BlockBuilder } from './block.js'
import { readDense } from './dense.js'
import { Hints, type Moved } from './hints.js'
import { Known } from './known.js'
import { Readers, type TailReader } from './readers.js'
import { Ring } from './ring.js'
import type { SourceFeed } from './source-feed.js'

const PULL_EVENTS = 256
const PULL_BYTES = 256 * 1024
const MAX_POLL_MS = 10_000
/** How long a store that failed is left alone. */
const RETRY_MS = 500

/**
 * The end of one stream in this process: how far it goes, and a ring of its newest frames, encoded once.
 *
 * Order comes from the store alone. What this process appended is taken directly if it continues what is
 * held, by offset and by tag; everything else is a hint to read on from there. When the store says
 * something that does not continue what is held, the tail starts again at the store's head, and each
 * reader finds out for itself what that means for its own place.
 */
export class Tail {
  readonly stream: string
  /** New whenever the tail starts again: what was read before may be of a log that is no more. */
  generation = randomEpoch()
  /** Settles once the store is watched and its view is known. */
  readonly ready: Promise<void>
  readonly #store: EventStore
  readonly #clock: Clock
  readonly #feed: SourceFeed | undefined
  readonly #readers = new Readers()
  readonly #ring: Ring
  readonly #known = new Known()
  #builder = new BlockBuilder('', 0, 0)
  #flushing = false
  readonly #hints = new Hints(
    (to) => to.epoch === this.#known.epoch && to.head <= this.#known.head,
    () => void this.refresh(),
  )
  #dirty = false
  #pulling: Promise<void> | undefined
  #failed = false
  #cancelRetry: (() => void) | undefined
  #pollMs = 0
  #cancelPoll: (() => void) | undefined
  #unwatch: (() => void) | undefined
  #phase: 'joining' | 'live' | 'closed' = 'joining'
  #origin: Place | undefined

  constructor(stream: string, store: EventStore, clock: Clock, ringBytes: number, feed?: SourceFeed) {
    this.stream = stream
    this.#feed = feed
    this.#store = store
    this.#clock = clock
    this.#ring = new Ring(ringBytes)
    this.ready = this.#join()
    // A join that fails reports to those who wait for it; when all have left, to nobody.
    this.ready.catch(() => {})
  }

  /** What is known of the stream. */
  get view(): StreamView {
    return this.#known.view
  }

  /** Where the stream stood when it was joined; `undefined` until then. What a source brings while it confirms comes after. */
  get origin(): Place | undefined {
    return this.#origin
  }

  /** How far the ring goes: a reader that stands here has everything. */
  get edge(): Place {
    return this.#builder
  }

  get closed(): boolean {
    return this.#phase === 'closed'
  }

  get readers(): number {
    return this.#readers.size
  }

  /** What to wait for until no reader is `maxLead` events behind, or `signal` is aborted. */
  room(maxLead: number, signal: AbortSignal | undefined): Promise<void> | undefined {
    return this.#readers.room(() => this.#phase === 'live' && this.#readers.behind(this.#known) >= maxLead, signal)
  }

  /** A reader has moved: producers that wait for it look again. */
  moved(): void {
    this.#readers.moved()
  }

  /** Whether it is worth keeping for a while without readers: to join a source again would be a loss. */
  get lingers(): boolean {
    return this.#feed !== undefined && this.#phase === 'live' && this.#origin !== undefined
  }

  add(reader: TailReader): void {
    this.#readers.add(reader)
  }

  remove(reader: TailReader): void {
    this.#readers.remove(reader)
  }

  /** Frees what only readers need. */
  rest(): void {
    this.#ring.clear()
  }

  /** Resolves when the source was left, too. */
  close(): Promise<void> | undefined {
    this.#phase = 'closed'
    const left = this.#feed?.close()
    this.#readers.clear()
    this.#ring.clear()
    this.#cancelPoll?.()
    this.#cancelRetry?.()
    if (this.#unwatch) this.#end(this.#unwatch)
    this.#unwatch = undefined
    return left
  }

  /** The block of the ring that holds the frame after `place`, if the ring goes back that far. */
  blockAfter(place: Place): Block | undefined {
    return this.#ring.blockAfter(place)
  }

  /** Takes events that this process has just appended. */
  offer(events: readonly AppendEvent[], places: readonly Appended[]): void {
    const known = this.#known
    for (let index = 0; index < places.length; index++) {
      const place = places[index]
      const event = events[index]
      if (!place || !event || place.duplicate) continue
      const { epoch, offset, tag, previousTag } = place
      const continues = epoch === known.epoch && offset === known.head + 1 && previousTag === known.headTag
      if (this.#phase === 'live' && continues) {
        this.#took(offset, tag, this.#builder.addChecked(event.event, event.data, place))
      } else this.hint({ epoch, head: offset })
    }
  }

  /** Looks again at the end of this turn, unless what is hinted at is known by then. */
  hint(to?: Moved): void {
    if (this.#phase !== 'closed') this.#hints.take(to)
  }

  /** Reads on until the store has no more; shared by all who ask meanwhile. Never rejects. */
  refresh(): Promise<void> {
    this.#dirty = true
    if (this.#phase !== 'live') return Promise.resolve()
    this.#pulling ??= this.#pull()
    return this.#pulling
  }

  /** A reader could not read from the store: it is woken once the store answers again. */
  storeFailed(): void {
    this.#failed = true
    void this.refresh()
  }

  /** Makes blocks of what is pending, and wakes the readers if that gave any. */
  flush(): void {
    const blocks = this.#builder.take()
    if (blocks.length > 0) this.#push(blocks)
  }

  async #join(): Promise<void> {
    const unwatch = await this.#store.watch(this.stream, (to) => this.hint(to))
    if (this.closed) {
      this.#end(unwatch)
      return
    }
    this.#unwatch = unwatch
    // Only now: what is appended after this look is hinted at.
    const view = await this.#store.open(this.stream)
    if (this.closed) return
    this.#phase = 'live'
    this.#rebase(view)
    if (this.#dirty) void this.refresh()
    const { epoch, offset, tag } = this.edge
    await this.#feed?.join(view.head > 0)
    this.#origin = this.#feed?.origin ?? { epoch, offset, tag }
    this.#pollMs = this.#store.pollMs ?? 0
    this.#poll()
  }

  /** A store that cannot stop watching is not worth ending the process for. */
  #end(unwatch: () => unknown): void {
    const run = async () => unwatch()
    run().catch(() => {})
  }

  #poll(): void {
    if (this.#pollMs === 0 || this.closed) return
    const look = async () => {
      const before = this.view
      await this.refresh()
      const moved = before.head !== this.#known.head || before.epoch !== this.#known.epoch
      this.#pollMs = moved ? (this.#store.pollMs ?? 0) : Math.min(this.#pollMs * 2, MAX_POLL_MS)
      this.#poll()
    }
    this.#cancelPoll = this.#clock.setTimeout(() => void look(), this.#pollMs, false)
  }

  async #pull(): Promise<void> {
    while (this.#dirty && this.#phase === 'live') {
      if (this.#failed) await this.#pause(RETRY_MS)
      this.#dirty = false
      const { epoch, head, headTag } = this.#known
      try {
        const page = await readDense(this.#store, this.stream, head, { limit: PULL_EVENTS, maxBytes: PULL_BYTES })
        if (page) this.#accept({ epoch, offset: head, tag: headTag }, page)
        else this.#rebase(await this.#store.open(this.stream))
        if (this.#failed) this.#flushSoon()
        this.#failed = false
      } catch {
        // The store is away. Readers stay, and the same place is asked for until it is back.
        this.#failed = true
        this.#dirty = true
      }
    }
    // In the same breath as the last look at `dirty`: who asks from now on starts a new pull.
    this.#pulling = undefined
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.setTimeout(resolve, ms, false)
      this.#cancelRetry = () => {
        cancel()
        resolve()
      }
    })
  }

  /** @param asked - the place that the page was asked to continue. */
  #accept(asked: Place, page: Page): void {
    const { first, firstTag, sealed } = page
    const known = this.#known
    const { head: before, headTag } = known
    // What was offered while the page was read is in it, too, unless the log was replaced in between.
    const held = page.events[before - asked.offset - 1]?.tag ?? headTag
    const isSame = page.epoch === asked.epoch && page.tag === asked.tag && held === headTag
    if (!isSame || page.head < asked.offset || first > asked.offset + 1) {
      this.#rebase(page)
      return
    }
    for (const event of page.events) {
      if (event.offset === known.head + 1) this.#took(event.offset, event.tag, this.#builder.add(event))
    }
    const complete = sealed && known.head >= page.head
    if (complete && !known.sealed) this.#flushSoon()
    known.trim(first, firstTag, complete)
    if (known.head >= page.head) return
    if (known.head === before) throw new Error('The store claims events that it does not give.')
    this.#dirty = true
  }

  /** @param complete - the blocks that the event at `offset` has completed. */
  #took(offset: number, tag: number, complete: readonly Block[]): void {
    this.#known.advance(offset, tag)
    if (complete.length > 0) this.#push(complete)
    this.#flushSoon()
  }

  /** Everything of one turn goes into as few blocks, and so as few writes, as possible. */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    nextTurn(() => {
      this.#flushing = false
      if (this.#phase !== 'live') return
      if (this.#builder.empty) this.#readers.wake()
      else this.flush()
    })
  }

  #push(blocks: readonly Block[]): void {
    if (this.#readers.size === 0) return
    this.#ring.push(blocks)
    this.#readers.wake()
  }

  /** Starts again at the store's head. */
  #rebase(view: StreamView): void {
    this.flush()
    this.#ring.clear()
    this.generation = randomEpoch()
    this.#known.replace(view)
    this.#builder = new BlockBuilder(view.epoch, view.head, view.headTag)
    this.#flushSoon()
  }
}
