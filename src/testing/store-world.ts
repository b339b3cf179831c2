import type { Clock } from '../protocol/clock.js'
import { formatCursor, type Place, parseCursor, randomEpoch } from '../protocol/cursor.js'
import type { StreamItem } from '../protocol/event.js'
import type { Appended, AppendOptions, EventStore, Page, StreamView } from '../protocol/store.js'
import { createHub } from '../server/create-hub.js'
import type { Hub, HubOptions, SubscribeOptions } from '../server/hub.js'
import type { Subscription } from '../server/subscription.js'
import { check, equal, type Statement } from './conformance.js'
import { type Timed, Waiting } from './waiting.js'

/** A transaction of the user's own, as `publish(…, { transaction })` takes it. */
export interface StoreTransaction {
  /** What is given to the store as `transaction`. */
  readonly handle: unknown
  /** Makes the appends visible. */
  commit(): Promise<void>
  /** As if they had never been. */
  rollback(): Promise<void>
}

/**
 * What `storeConformance` needs of a store under test: an empty one, made anew for every case. What is left out is
 * what the store cannot do or the test cannot bring about; the cases that need it are skipped.
 */
export interface StoreHarness extends Timed {
  /**
   * Opens the store. Called several times: where the store is shared, each answer stands for the store as another
   * process has it; where it is not, all are the same.
   */
  open(): EventStore | Promise<EventStore>
  /** Loses everything that is stored, under the feet of those who have it open. */
  wipe?(): void | Promise<void>
  /** Takes a copy of all that is stored; the returned function puts it back in the place of what is there then. */
  snapshot?(): Promise<() => void | Promise<void>>
  /** Loses all hints (as when a writer dies between its append and its hint) until it is called with `false`. */
  dropHints?(on: boolean): void | Promise<void>
  /** Cuts the connections between the stores and their server; the returned function lets them through again. */
  disconnect?(): Promise<() => void | Promise<void>>
  /** Begins a transaction in which the store can append. */
  transaction?(): Promise<StoreTransaction>
  /** How many events the store was made to retain per stream: from 8 to some hundred. */
  readonly maxEvents?: number | undefined
  /** How long the store was made to retain events, in milliseconds: at least a minute, unless time is virtual or `advance` makes it short. */
  readonly maxAgeMs?: number | undefined
  readonly clock?: Clock | undefined
  /** Lets time pass. With a `clock`, by moving it; without, by making what is stored so much older, or by waiting. */
  advance?(ms: number): Promise<void>
  /** Closes every store that was opened, and frees what the harness holds. */
  close(): void | Promise<void>
}

export type StoreStatement = Statement<StoreHarness, StoreWorld>

/** A harness under way: a stream of a new name, and what the cases do with it. */
export class StoreWorld extends Waiting implements AsyncDisposable {
  readonly harness: StoreHarness
  readonly store: EventStore
  readonly stream = `conformance-${randomEpoch()}`
  readonly #hubs: Hub[] = []

  constructor(harness: StoreHarness, store: EventStore) {
    super(harness)
    this.harness = harness
    this.store = store
  }

  static async begin(harness: StoreHarness): Promise<StoreWorld> {
    return new StoreWorld(harness, await harness.open())
  }

  /** Why the harness, or the store, is not up to what a case needs. */
  lacks(need: string): string | undefined {
    if (need === 'shared') return this.store.shared ? undefined : 'the store is not shared by several processes'
    if (need === 'hints') {
      const hasHints = this.store.pollMs === undefined || this.harness.dropHints !== undefined
      return hasHints ? undefined : 'the store polls, and the harness has no `dropHints`'
    }
    return this.harness[need as keyof StoreHarness] === undefined ? `the harness has no \`${need}\`` : undefined
  }

  /** Several processes' views of the store; where it is not shared, the same one several times. */
  stores(count: number): Promise<EventStore[]> {
    return Promise.all(
      Array.from({ length: count }, (_, index) =>
        this.store.shared && index > 0 ? this.harness.open() : Promise.resolve(this.store),
      ),
    )
  }

  /** Appends plain events of these data. */
  async append(data: readonly string[], options: AppendOptions & { to?: EventStore; stream?: string } = {}) {
    const { to = this.store, stream = this.stream, ...rest } = options
    const events = data.map((text) => ({ event: undefined, data: text, key: undefined }))
    const places = await to.append(stream, events, rest)
    equal(places.length, data.length, 'the number of places that append answers with')
    return places
  }

  /** Appends one event with a key. */
  async appendKeyed(key: string, data: string, to = this.store, stream = this.stream): Promise<Appended> {
    const [place] = await to.append(stream, [{ event: undefined, data, key }])
    check(place !== undefined, 'Expected append to answer with a place, got none')
    return place
  }

  async view(stream = this.stream): Promise<StreamView> {
    const { epoch, first, firstTag, head, headTag, sealed } = await this.read(0, 0, { stream })
    return { epoch, first, firstTag, head, headTag, sealed }
  }

  /** A page that must be there, checked against itself. */
  async read(offset: number, limit: number, { from = this.store, stream = this.stream } = {}): Promise<Page> {
    const page = await from.read(stream, offset, { limit })
    check(page !== null, `Expected read(${offset}) to find the stream, got null`)
    checkPage(page, offset, limit)
    return page
  }

  /** Appends until the event at `offset` is no longer retained. Returns the places, with `data` as their offsets. */
  async trimBeyond(offset: number): Promise<Appended[]> {
    const most = 4 * (this.harness.maxEvents ?? 0) + 1_000
    const places: Appended[] = []
    while ((await this.view()).first <= offset) {
      check(
        places.length < most,
        `Expected \`maxEvents\` (${this.harness.maxEvents}) to trim offset ${offset}; after ${most} more it is retained`,
      )
      const { head } = await this.view()
      places.push(...(await this.append([String(head + 1)])))
    }
    return places
  }

  /** Lets everything that is stored grow older than `maxAgeMs`. */
  async expire(): Promise<void> {
    await this.harness.advance?.((this.harness.maxAgeMs ?? 0) + 1)
  }

  hub(options: Partial<HubOptions> = {}): Hub {
    const hub = createHub({ store: this.store, clock: this.clock, ...options })
    this.#hubs.push(hub)
    return hub
  }

  /** Joins, as a reader of a hub of its own. */
  async join(options: SubscribeOptions = {}, hub = this.hub()): Promise<Subscription> {
    return this.settled(hub.subscribe(this.stream, options), 'the join to be confirmed')
  }

  /** The next items of a reader, as short texts: `5` for the event with that data, `gap expired 3` for a gap. */
  async take(reader: Subscription, count: number, what: string): Promise<string[]> {
    const texts: string[] = []
    while (texts.length < count) texts.push(textOf(await this.next(reader, `${what}: item ${texts.length + 1}`)))
    return texts
  }

  async next(reader: Subscription, what: string): Promise<StreamItem> {
    const { value } = await this.settled(reader.next(), what)
    check(value !== undefined, `Expected ${what}, and the reader came to its end`)
    return value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hubs.map((hub) => hub.close()))
  }
}

/** What a page must be whatever it is of: it begins where it has to, has no hole, and goes on as far as it may. */
export function checkPage(page: Page, asked: number, limit: number): void {
  const { first, head, events } = page
  const what = `read(${asked}, { limit: ${limit} })`
  check(first >= 1 && first <= head + 1, `Expected 1 <= first <= head + 1 of ${what}, got ${first} and ${head}`)
  check(events.length <= limit, `Expected at most ${limit} events of ${what}, got ${events.length}`)
  const begin = Math.max(asked + 1, first)
  const count = Math.max(0, Math.min(limit, head - begin + 1))
  const expected = Array.from({ length: count }, (_, index) => begin + index)
  equal(
    events.map(({ offset }) => offset),
    expected,
    `the offsets of ${what}, first ${first}, head ${head},`,
  )
}

export function textOf(item: StreamItem): string {
  return item.type === 'event' ? item.data : `gap ${item.reason} ${item.missed}`
}

export function placeOf(item: StreamItem): Place {
  const place = parseCursor(item.id)
  check(place !== null, `Expected the id of each item to be a cursor, got ${JSON.stringify(item.id)}`)
  return place
}

export function cursorOf({ epoch, offset, tag }: Place): string {
  return formatCursor({ epoch, offset, tag })
}

/** '3', '4', '5' */
export function numbers(from: number, to: number): string[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => String(from + index))
}
