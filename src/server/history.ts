import { type Cursor, formatCursor, type Place, parseCursor } from '../protocol/cursor.js'
import type { GapReason, StreamItem } from '../protocol/event.js'
import type { EventStore, Page } from '../protocol/store.js'
import { readDense } from './dense.js'
import { resume } from './resume.js'
import { itemOf } from './subscription.js'

/** Which page of history. */
export interface HistoryQuery {
  /** The oldest events after this cursor. */
  after?: Cursor | undefined
  /** The newest events before this cursor. */
  before?: Cursor | undefined
  /** The most items to return. Default: 100. */
  limit?: number | undefined
}

/** A page of history. */
export interface HistoryPage {
  /** In order; a gap stands first when the cursor that was asked for could not be honoured. */
  readonly items: StreamItem[]
  /** The cursor of the oldest retained event; `null` when none is retained. */
  readonly first: Cursor | null
  /** The cursor of the newest place: give it to `connect` to go on from this page. */
  readonly head: Cursor
}

/** A stream may be trimmed between two looks, but not for ever. */
const MAX_LOOKS = 100

/** Reads one page of a stream, the newest by default. */
export async function readHistory(
  store: EventStore,
  stream: string,
  { after, before }: HistoryQuery,
  limit: number,
): Promise<HistoryPage> {
  const asked = after ?? before
  const place = asked === undefined ? undefined : parseCursor(asked)
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    const look = (await readDense(store, stream, place?.offset ?? 0, { limit: 0 })) ?? {
      ...(await store.open(stream)),
      tag: 0,
    }
    const gap = place === undefined ? undefined : place === null ? invalid : gapAt(place, look)
    const range = rangeOf(look, place && !gap ? place.offset : undefined, after !== undefined, limit, gap)
    const page = await readDense(store, stream, range.after, { limit: range.count })
    const oldest = await readDense(store, stream, look.first - 1, { limit: 1 })
    // All three must speak of one log that was not trimmed in between; else look again.
    if (!page || !oldest || page.epoch !== look.epoch || oldest.epoch !== look.epoch) continue
    if (page.tag === undefined || oldest.first !== look.first) continue
    const { epoch, head, headTag } = look
    const items = page.events.map((event) => itemOf(epoch, event))
    if (gap) {
      const id = formatCursor({ epoch, offset: range.after, tag: page.tag })
      items.unshift({ type: 'gap', id, reason: gap.reason, missed: gap.missed })
    }
    const first = oldest.events[0]
    return {
      items,
      first: first ? formatCursor({ epoch, offset: first.offset, tag: first.tag }) : null,
      head: formatCursor({ epoch, offset: head, tag: headTag }),
    }
  }
  throw new Error('The store did not stand still for long enough to read a page.')
}

interface AskedGap {
  readonly reason: GapReason
  readonly missed: number | null
}

const invalid: AskedGap = { reason: 'invalid', missed: null }

function gapAt(place: Place, look: Pick<Page, 'tag'> & Parameters<typeof resume>[1]): AskedGap | undefined {
  return resume(place, look, look.tag, Number.POSITIVE_INFINITY).gap
}

/** @param offset - the place that was asked for, when it holds. */
function rangeOf(
  view: { first: number; head: number },
  offset: number | undefined,
  forward: boolean,
  limit: number,
  gap: AskedGap | undefined,
): { after: number; count: number } {
  const least = view.first - 1
  // After a loss, a page read forward goes on at the oldest event; all others end at the newest.
  if (forward) {
    const after = offset ?? (gap?.reason === 'epoch' || gap?.reason === 'expired' ? least : view.head)
    return { after, count: limit }
  }
  const end = offset === undefined ? view.head : Math.max(offset - 1, least)
  const after = Math.max(end - limit, least)
  return { after, count: end - after }
}
