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

/** One connection, and what its client said. */
interface Tracked {
  readonly seen: HubConnection
  readonly start: Start
  /** Its `place` is what was written. */
  readonly reader: { readonly place: Place | undefined }
  readonly tail: { readonly view: StreamView }
  acknowledged: Place | undefined
  acknowledgedAt: number | undefined
  /** A place that is waited for, and since when. Only when it is acknowledged, what was written since is waited for. */
  mark: { readonly place: Place; at: number } | undefined
  told: boolean
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
  readonly #open = new Map<string, Tracked>()
  /** Those whose client has acknowledged something, while there is a hook to tell of them. */
  readonly #watched = new Set<Tracked>()
  #cancel: (() => void) | undefined

  constructor(options: {
    clock: Clock
    onError: ((error: unknown) => void) | undefined
    onUndelivered: ((delivery: Delivery) => void) | undefined
    undeliveredMs: number
  }) {
    this.clock = options.clock
    this.onError = options.onError
    this.#onUndelivered = options.onUndelivered
    this.#ms = options.undeliveredMs
  }

  /** Follows a connection until it is removed. */
  add(
    seen: HubConnection,
    start: Start,
    reader: { readonly place: Place | undefined },
    tail: { readonly view: StreamView },
  ): void {
    const tracked: Tracked = {
      seen,
      start,
      reader,
      tail,
      acknowledged: undefined,
      acknowledgedAt: undefined,
      mark: undefined,
      told: false,
    }
    this.#open.set(seen.id, tracked)
  }

  remove(id: string): void {
    const tracked = this.#open.get(id)
    this.#open.delete(id)
    if (!tracked || !this.#watched.delete(tracked) || this.#watched.size > 0) return
    this.#cancel?.()
    this.#cancel = undefined
  }

  of(stream: string): Delivery[] {
    const found: Delivery[] = []
    for (const tracked of this.#open.values()) if (tracked.seen.stream === stream) found.push(deliveryOf(tracked))
    return found
  }

  take(connection: string, cursor: string | null): boolean {
    const tracked = this.#open.get(connection)
    if (!tracked) return false
    tracked.acknowledgedAt = this.clock.now()
    const place = cursor === null ? null : parseCursor(cursor)
    if (place && moves(tracked, place)) tracked.acknowledged = place
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
      const { mark } = tracked
      if (mark && isBehind(tracked, mark.place)) {
        if (lateMs > SLEPT_MS) mark.at += lateMs
        if (tracked.told || now - mark.at < this.#ms) continue
        tracked.told = true
        run(() => this.#onUndelivered?.(deliveryOf(tracked)))
      } else {
        const place = writtenOf(tracked)
        tracked.told = false
        tracked.mark = isBehind(tracked, place) ? { place, at: now } : undefined
      }
    }
  }
}

function writtenOf({ reader, start }: Tracked): Place {
  return reader.place ?? start.place
}

/** From where a client's events are counted that are not acknowledged. */
function countedFrom({ acknowledged, start }: Tracked): Place {
  return acknowledged ?? start.place
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
  const { start, acknowledged: last } = tracked
  const written = writtenOf(tracked)
  if (place.epoch !== written.epoch || place.offset > written.offset) return false
  if (place.offset === written.offset && place.tag !== written.tag) return false
  if (last?.epoch === place.epoch) return place.offset > last.offset
  if (!start.gap || start.place.epoch !== place.epoch) return true
  return place.offset > start.place.offset || (place.offset === start.place.offset && place.tag === start.place.tag)
}

function deliveryOf(tracked: Tracked): Delivery {
  const { seen, tail, acknowledged, acknowledgedAt } = tracked
  const { epoch, head, headTag } = tail.view
  const newest: Place = { epoch, offset: head, tag: headTag }
  const written = writtenOf(tracked)
  return {
    connection: seen,
    head: formatCursor(newest),
    written: formatCursor(written),
    acknowledged: acknowledged ? formatCursor(acknowledged) : null,
    acknowledgedAt: acknowledgedAt ?? null,
    unwritten: between(written, newest),
    unacknowledged: between(countedFrom(tracked), written),
  }
}

/** How many events lie between; unknown where the places are of different logs, or of one that went back. */
function between(from: Place, to: Place): number | null {
  return from.epoch === to.epoch && from.offset <= to.offset ? to.offset - from.offset : null
}
