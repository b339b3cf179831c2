import type { Place } from '../protocol/cursor.js'
import type { GapReason } from '../protocol/event.js'
import type { StreamView } from '../protocol/store.js'

/** Where a reader continues, and what it must be told first. */
export interface Verdict {
  /** `undefined`: nothing is missing. */
  readonly gap?: { readonly reason: GapReason; readonly missed: number | null }
  /** The offset after which the reader continues. */
  readonly after: number
}

/**
 * The table of resumption: rules 1 to 7 of `docs/protocol.md`, in their order. (Rule 0, no cursor, and
 * where an unreadable one continues, belong to the caller.)
 *
 * @param place - where the reader stands.
 * @param tag - the tag that the store has at that offset; `undefined` where it has none.
 */
export function resume(place: Place, view: StreamView, tag: number | undefined, maxReplay: number): Verdict {
  const { epoch, first, head } = view
  const earliest = Math.max(first - 1, head - maxReplay)
  if (place.epoch !== epoch) return { gap: { reason: 'epoch', missed: null }, after: earliest }
  if (place.offset > head) return { gap: { reason: 'ahead', missed: null }, after: head }
  if (place.offset + 1 < first) return { gap: { reason: 'expired', missed: earliest - place.offset }, after: earliest }
  if (tag !== place.tag) return { gap: { reason: 'diverged', missed: null }, after: head }
  if (head - place.offset > maxReplay) {
    return { gap: { reason: 'limit', missed: earliest - place.offset }, after: earliest }
  }
  return { after: place.offset }
}
