import type { Clock } from '../protocol/clock.js'
import { formatCursor, type Place, parseCursor } from '../protocol/cursor.js'
import type { StreamView } from '../protocol/store.js'
import type { Acknowledgements, Delivery, HubConnection } from './hub.js'
import type { Start } from './reader.js'
import { guarded } from './report.js'

/** How often, in its time, each connection is looked at. */
const SWEEPS = 8
/** A timer that fires this late was held up by a sleeping process: acknowledgements may wait at its door. */
const SLEPT_MS = 1_000

/** What the client of one connection said. */
export interface Said {
  acknowledged: Place | undefined
  acknowledgedAt: number
  /** A place that is waited for, and since when. Only when it is acknowledged, what was written since is waited for. */
  mark: { readonly place: Place; at: number } | undefined
  told: boolean
}

/** One connection. */
export interface Tracked {
  readonly seen: HubConnection
  readonly start: Start
  /** What was written. */
  readonly place: Place | undefined
  /** What is known of its stream. */
  readonly view: StreamView
  /** Made with the first acknowledgement: most clients send none. */
  said: Said | undefined
}

/** The open connections. */
export interface AllTracked {
  get(connection: string): Tracked | undefined
  all(): Iterable<Tracked>
}

/**
 * What is published, written and acknowledged, for each connection of a hub. What is written is looked up when
 * somebody asks, and costs nothing per event.
 */
export class Deliveries implements Acknowledgements {
  readonly clock: Clock
  readonly onError: ((error: unknown) => void) | undefined
  readonly #onUndelivered: ((delivery: Delivery) => void) | undefined
  readonly #ms: number
  readonly #open: AllTracked
  /** Those whose client has acknowledged something, while there is a hook to tell of them. */
  readonly #watched = new Set<Tracked>()
  #cancel: (() => void) | undefined

  constructor(
    options: {
      clock: Clock
      onError: ((error: unknown) => void) | undefined
      onUndelivered: ((delivery: Delivery) => void) | undefined
      undeliveredMs: number
    },
    open: AllTracked,
  ) {
    this.#open = open
    this.clock = options.clock
    this.onError = options.onError
    this.#onUndelivered = options.onUndelivered
    this.#ms = options.undeliveredMs
  }

  /** Nothing more is expected of a connection. */
  forget(tracked: Tracked): void {
    if (!this.#watched.delete(tracked) || this.#watched.size > 0) return
    this.#cancel?.()
    this.#cancel = undefined
  }

  of(stream: string): Delivery[] {
    const found: Delivery[] = []
    for (const tracked of this.#open.all()) if (tracked.seen.stream === stream) found.push(deliveryOf(tracked))
    return found
  }

  take(connection: string, cursor: string | null): boolean {
    const tracked = this.#open.get(connection)
    if (!tracked) return false
    const now = this.clock.now()
    const said = tracked.said ?? { acknowledged: undefined, acknowledgedAt: now, mark: undefined, told: false }
    tracked.said = said
    said.acknowledgedAt = now
    const place = cursor === null ? null : parseCursor(cursor)
    if (place && moves(tracked, place)) said.acknowledged = place
    if (this.#onUndelivered) {
      this.#watched.add(tracked)
      if (!this.#cancel) this.#arm()
    }
    return true
  }

  #arm(): void {
    const ms = Math.max(1, this.#ms / SWEEPS)
    const due = this.clock.now() + ms
    this.#cancel = this.clock.setTimeout(
      () => {
        const now = this.clock.now()
        this.#arm()
        this.#sweep(now, now - due)
      },
      ms,
      false,
    )
  }

  #sweep(now: number, lateMs: number): void {
    const run = guarded(this.onError)
    for (const tracked of [...this.#watched]) {
      const { said } = tracked
      if (!said) continue
      const { mark } = said
      if (mark && isBehind(tracked, mark.place)) {
        if (lateMs > SLEPT_MS) mark.at += lateMs
        if (said.told || now - mark.at < this.#ms) continue
        said.told = true
        run(() => this.#onUndelivered?.(deliveryOf(tracked)))
      } else {
        const place = writtenOf(tracked)
        said.told = false
        said.mark = isBehind(tracked, place) ? { place, at: now } : undefined
      }
    }
  }
}

function writtenOf({ place, start }: Tracked): Place {
  return place ?? start.place
}

/** From where a client's events are counted that are not acknowledged. */
function countedFrom({ said, start }: Tracked): Place {
  return said?.acknowledged ?? start.place
}

function isBehind(tracked: Tracked, place: Place): boolean {
  const from = countedFrom(tracked)
  // Of two logs, the one that is written now is the newer.
  return from.epoch === place.epoch ? from.offset < place.offset : from.epoch !== writtenOf(tracked).epoch
}

/**
 * Whether an acknowledgement is of something that was written here, and goes further than the last one.
 *
 * It need not be: the consumer may still be busy with what came before a gap, in a log that is no more. That is no
 * mistake of the client's, and says nothing about this connection.
 */
function moves(tracked: Tracked, place: Place): boolean {
  const { start, said } = tracked
  const last = said?.acknowledged
  const written = writtenOf(tracked)
  if (place.epoch !== written.epoch || place.offset > written.offset) return false
  if (place.offset === written.offset && place.tag !== written.tag) return false
  if (last?.epoch === place.epoch) return place.offset > last.offset
  if (!start.gap || start.place.epoch !== place.epoch) return true
  return place.offset > start.place.offset || (place.offset === start.place.offset && place.tag === start.place.tag)
}

function deliveryOf(tracked: Tracked): Delivery {
  const { seen, view, said } = tracked
  const { epoch, head, headTag } = view
  const newest: Place = { epoch, offset: head, tag: headTag }
  const written = writtenOf(tracked)
  return {
    connection: seen,
    head: formatCursor(newest),
    written: formatCursor(written),
    acknowledged: said?.acknowledged ? formatCursor(said.acknowledged) : null,
    acknowledgedAt: said?.acknowledgedAt ?? null,
    unwritten: between(written, newest),
    unacknowledged: between(countedFrom(tracked), written),
  }
}

/** How many events lie between; unknown where the places are of different logs, or of one that went back. */
function between(from: Place, to: Place): number | null {
  return from.epoch === to.epoch && from.offset <= to.offset ? to.offset - from.offset : null
}
