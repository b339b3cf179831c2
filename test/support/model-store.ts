import { type Place, randomEpoch, randomTag } from '../../src/protocol/cursor.js'
import type {
  AppendEvent,
  Appended,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoredEvent,
  StreamView,
} from '../../src/protocol/store.js'

interface Log extends StreamView {
  /** Those that are retained. */
  readonly events: readonly StoredEvent[]
  /** The tags of all, from the first ever. */
  readonly tags: readonly number[]
}

/** All streams at one moment. */
export type Copy = ReadonlyMap<string, Log>

/** One event that was ever stored, wherever the log went later. */
export interface Stored {
  readonly stream: string
  readonly place: Place
  /** The place that it continued. */
  readonly parent: Place
  readonly data: string
}

/** Where a stream stood after a change. */
export interface Moment {
  readonly head: Place
  /** The place before the oldest retained event. */
  readonly start: Place
}

/**
 * The plainest store of many streams, which remembers all that ever happened to it: what was stored after what, and
 * where each stream began and ended, and when. It can be put back to an older copy, or lose all.
 */
export class ModelStore implements EventStore {
  readonly pollMs: number
  /** By the text up to the first colon of the data: every event must have its own. */
  readonly events = new Map<string, Stored>()
  /** How often the log was put back to something else. */
  replaced = 0
  readonly #maxEvents: number
  readonly #keepsTags: boolean
  readonly #moments = new Map<string, Moment[]>()
  readonly #byPlace = new Map<string, Stored>()
  readonly #hints = new Map<string, Set<Hint>>()
  #logs = new Map<string, Log>()

  /** @param options - `keepsTags`: the tags of trimmed events are remembered, which a store may do and need not. */
  constructor(options: { maxEvents?: number; pollMs?: number; keepsTags?: boolean } = {}) {
    this.#keepsTags = options.keepsTags ?? false
    this.#maxEvents = options.maxEvents ?? Number.POSITIVE_INFINITY
    this.pollMs = options.pollMs ?? 1_000
  }

  get copy(): Copy {
    return new Map(this.#logs)
  }

  /** Without a word to those who watch, as a failover does it. */
  restore(copy: Copy): void {
    this.replaced++
    this.#logs = new Map(copy)
    for (const [stream, log] of copy) this.#note(stream, log)
  }

  /** All that `stream` has been, in order. */
  moments(stream: string): readonly Moment[] {
    return this.#moments.get(stream) ?? []
  }

  head(stream: string): Place {
    return placeOf(this.#log(stream))
  }

  /** Whether `later` continues `earlier`, over any number of events. */
  continues(earlier: Place, later: Place): boolean {
    let place: Place | undefined = later
    while (place && place.offset > earlier.offset) place = this.#byPlace.get(keyOf(place))?.parent
    return place !== undefined && keyOf(place) === keyOf(earlier)
  }

  append(stream: string, events: readonly AppendEvent[]): readonly Appended[] {
    const places = events.map((event) => this.#append(stream, event))
    const { epoch, head } = this.#log(stream)
    for (const hint of this.#hints.get(stream) ?? []) hint({ epoch, head })
    return places
  }

  open(stream: string): StreamView {
    return this.#log(stream)
  }

  read(stream: string, offset: number, { limit, maxBytes = Number.POSITIVE_INFINITY }: ReadOptions): Page | null {
    const log = this.#logs.get(stream)
    if (!log) return null
    const { first, events, tags } = log
    const isKept = this.#keepsTags || offset >= first - 1 || offset === log.head
    const tag = !isKept ? undefined : offset === 0 ? 0 : tags[offset - 1]
    const page: StoredEvent[] = []
    let bytes = 0
    for (const event of events.slice(Math.max(0, offset + 1 - first)).slice(0, limit)) {
      bytes += event.data.length
      if (bytes > maxBytes && page.length > 0) break
      page.push(event)
    }
    return { ...log, tag, events: page }
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    const hints = this.#hints.get(stream) ?? new Set()
    this.#hints.set(stream, hints)
    hints.add(hint)
    return () => hints.delete(hint)
  }

  seal(stream: string): StreamView {
    const log = { ...this.#log(stream), sealed: true }
    this.#logs.set(stream, log)
    for (const hint of this.#hints.get(stream) ?? []) hint(undefined)
    return log
  }

  /** How many watch. */
  get watching(): number {
    let sum = 0
    for (const hints of this.#hints.values()) sum += hints.size
    return sum
  }

  #append(stream: string, { event, data }: AppendEvent): Appended {
    const { epoch, first, firstTag, head, headTag, sealed, events, tags } = this.#log(stream)
    const place = { epoch, offset: head + 1, tag: randomTag() }
    const all = [...events, { offset: place.offset, tag: place.tag, event, data }]
    const trimmed = Math.max(0, all.length - this.#maxEvents)
    const log: Log = {
      epoch,
      first: first + trimmed,
      firstTag: all[trimmed - 1]?.tag ?? firstTag,
      head: place.offset,
      headTag: place.tag,
      sealed,
      events: all.slice(trimmed),
      tags: [...tags, place.tag],
    }
    this.#logs.set(stream, log)
    this.#note(stream, log)
    const stored = { stream, place, parent: { epoch, offset: head, tag: headTag }, data }
    this.events.set(data.slice(0, data.indexOf(':')), stored)
    this.#byPlace.set(keyOf(place), stored)
    return { ...place, duplicate: false, previousTag: headTag }
  }

  #log(stream: string): Log {
    const present = this.#logs.get(stream)
    if (present) return present
    const log = {
      epoch: randomEpoch(),
      first: 1,
      firstTag: 0,
      head: 0,
      headTag: 0,
      sealed: false,
      events: [],
      tags: [],
    }
    this.#logs.set(stream, log)
    this.#note(stream, log)
    return log
  }

  #note(stream: string, log: Log): void {
    const moments = this.#moments.get(stream) ?? []
    this.#moments.set(stream, moments)
    const start = { epoch: log.epoch, offset: log.first - 1, tag: log.firstTag }
    moments.push({ head: placeOf(log), start })
  }
}

function placeOf({ epoch, head, headTag }: StreamView): Place {
  return { epoch, offset: head, tag: headTag }
}

export function keyOf({ epoch, offset, tag }: Place): string {
  return `${epoch}.${offset}.${tag}`
}
