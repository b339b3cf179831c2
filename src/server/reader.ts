import { turn } from '../protocol/clock.js'
import type { Gap } from '../protocol/control.js'
import { type Cursor, formatCursor, type Place, parseCursor } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { GapItem } from '../protocol/event.js'
import type { StreamView } from '../protocol/store.js'
import type { Frames } from './block.js'
import type { EncodedPage, Pages } from './pages.js'
import { resume, type Verdict } from './resume.js'
import type { Tail } from './tail.js'

/** Where a reader without a cursor begins. */
export type From = 'now' | 'earliest' | `last:${number}`

/** Where a reader begins, and what it must be told first. */
export interface Start {
  readonly resumed: 'new' | 'ok' | 'gap'
  readonly gap: Gap | undefined
  readonly place: Place
}

/** What comes next for a reader. */
export type Step =
  | Frames
  | { readonly kind: 'gap'; readonly gap: Gap; readonly place: Place }
  | { readonly kind: 'wait' | 'sealed' | 'again' }

const WAIT: Step = { kind: 'wait' }
const SEALED: Step = { kind: 'sealed' }
const AGAIN: Step = { kind: 'again' }

export interface Log {
  readonly tail: Tail
  readonly pages: Pages
  readonly maxReplay: number
}

/** What follows `place`: from the ring at once, or from the store. */
export function stepAfter(log: Log, place: Place): Step | Promise<Step> {
  const { tail } = log
  if (samePlace(place, tail.edge)) return tail.view.sealed && tail.view.head === place.offset ? SEALED : WAIT
  const block = tail.blockAfter(place)
  if (block && block.tagAt(place.offset) === place.tag) return block.framesAfter(place.offset)
  return stepFromStore(log, place)
}

async function stepFromStore(log: Log, place: Place): Promise<Step> {
  const { tail, pages } = log
  const page = await pages.after(tail, place)
  if (page === null) {
    await tail.refresh()
    await turn()
    return AGAIN
  }
  const { gap, after } = resume(place, page.view, page.tagAt(place.offset), log.maxReplay)
  // How far an open connection may lag is bounded by the store's retention alone.
  if (gap && gap.reason !== 'limit') {
    const next = await placeAt(log, page.view, after, page)
    return next ? { kind: 'gap', gap, place: next } : AGAIN
  }
  const block = page.blocks.find((candidate) => candidate.after <= place.offset && place.offset < candidate.last)
  if (block) return block.framesAfter(place.offset)
  // Nothing follows: either all that does is pending in the tail, whose flush wakes, or the page, which others
  // may have asked for before this reader came here, is older than the tail, or newer.
  const { epoch, head, headTag } = tail.view
  if (samePlace(place, { epoch, offset: head, tag: headTag })) return WAIT
  await tail.refresh()
  await turn()
  return AGAIN
}

/**
 * As `startAt`, where that needs no waiting: the tail is there, and knows the place itself, as for most who arrive.
 * `undefined`: it may need some.
 *
 * @param asks - whether somebody is to be asked before events are replayed.
 */
export function startAtOnce(log: Log, cursor: Cursor | undefined, from: From, asks: boolean): Start | undefined {
  const { tail } = log
  if (tail.origin === undefined || tail.closed) return undefined
  if (cursor === undefined) {
    if (from !== 'now') return undefined
    tail.flush()
    return startOf(tail, 'new', placeOf(tail.view, tail.view.head, tail.view.headTag))
  }
  const place = parseCursor(cursor)
  if (!place) return undefined
  tail.flush()
  if (place.epoch !== tail.view.epoch || place.offset > tail.view.head) return undefined
  const known = knownOf(tail, place)
  if (!known || (asks && known.view.head > place.offset)) return undefined
  return resume(place, known.view, known.tag, log.maxReplay).gap ? undefined : startOf(tail, 'ok', place)
}

/** The tables of resumption, for a reader that arrives. Waits for the tail. */
export async function startAt(
  log: Log,
  cursor: Cursor | undefined,
  from: From,
  replay?: (behind: number) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<Start> {
  const { tail } = log
  const isFirst = tail.origin === undefined
  await tail.ready
  tail.flush()
  // For those who waited for the join, now is when it was made: what came since is theirs.
  const now = isFirst && tail.origin ? tail.origin : placeOf(tail.view, tail.view.head, tail.view.headTag)
  if (cursor === undefined) return startOf(tail, 'new', await beginning(log, from, now, signal))
  const place = parseCursor(cursor)
  if (!place) return gapStart({ reason: 'invalid', missed: null }, await beginning(log, from, now, signal))
  if (place.epoch !== tail.view.epoch || place.offset > tail.view.head) await tail.refresh()
  for (;;) {
    assertWanted(tail, signal)
    const { view, tag, page } = await viewFor(log, place)
    const full = resume(place, view, tag, log.maxReplay)
    // Asked about what would be replayed; to skip it is the rule `limit` with nothing allowed.
    const behind = view.head - full.after
    const isSkipped = replay !== undefined && behind > 0 && !(await replay(behind))
    const { gap, after }: Verdict = isSkipped ? resume(place, view, tag, 0) : full
    if (!gap) return startOf(tail, 'ok', place)
    const next = await placeAt(log, view, after, page)
    if (next) return gapStart(gap, next)
  }
}

const atHead = new WeakMap<StreamView, { readonly new: Start; readonly ok: Start }>()

/** A start without a gap. Those who arrive at the head between two events share one: they may wait there for long. */
function startOf({ view }: Tail, resumed: 'new' | 'ok', place: Place): Start {
  const head = placeOf(view, view.head, view.headTag)
  if (!samePlace(place, head)) return { resumed, gap: undefined, place }
  let starts = atHead.get(view)
  if (!starts) {
    const gap = undefined
    starts = { new: { resumed: 'new', gap, place: head }, ok: { resumed: 'ok', gap, place: head } }
    atHead.set(view, starts)
  }
  return starts[resumed]
}

function gapStart(gap: Gap, place: Place): Start {
  return { resumed: 'gap', gap, place }
}

async function beginning(log: Log, from: From, now: Place, signal: AbortSignal | undefined): Promise<Place> {
  const { tail } = log
  if (from === 'now') return now
  for (;;) {
    assertWanted(tail, signal)
    await tail.refresh()
    const { view } = tail
    const count = from === 'earliest' ? Number.POSITIVE_INFINITY : Number(from.slice('last:'.length))
    const place = await placeAt(log, view, Math.max(view.first - 1, view.head - count), undefined)
    if (place) return place
  }
}

interface Judged {
  readonly view: StreamView
  /** The tag at the place, in that view: both are taken in one breath, for the tail moves on meanwhile. */
  readonly tag: number | undefined
  readonly page: EncodedPage | undefined
}

/** The view to judge `place` by. The page is read only when neither the ring nor the edge knows the place. */
async function viewFor(log: Log, place: Place): Promise<Judged> {
  const { tail, pages } = log
  const known = knownOf(tail, place)
  if (known) return known
  const page = await pages.after(tail, place)
  if (page === null || page.view.epoch !== tail.view.epoch) {
    await tail.refresh()
    return knownOf(tail, place) ?? { view: tail.view, tag: undefined, page: undefined }
  }
  // A remembered page may be a little older than the tail.
  const { head, headTag, sealed } = tail.view.head > page.view.head ? tail.view : page.view
  const { first, firstTag } = tail.view.first > page.view.first ? tail.view : page.view
  const view = { epoch: page.view.epoch, first, firstTag, head, headTag, sealed }
  return { view, tag: page.tagAt(place.offset), page }
}

/** What the tail alone can say of `place`. */
function knownOf(tail: Tail, place: Place): Judged | undefined {
  const { view } = tail
  if (place.epoch !== view.epoch || place.offset > view.head) return { view, tag: undefined, page: undefined }
  const tag = place.offset === view.head ? view.headTag : tail.blockAfter(place)?.tagAt(place.offset)
  if (tag === undefined) return undefined
  // What the ring holds can be given, whether the store still retains it or not.
  return { view: { ...view, first: Math.min(view.first, place.offset + 1) }, tag, page: undefined }
}

/** The place at `offset`, with its tag; `undefined` when the stream has moved on since `view`. */
export async function placeAt(
  log: Log,
  view: StreamView,
  offset: number,
  page: EncodedPage | undefined,
): Promise<Place | undefined> {
  if (offset === view.head) return placeOf(view, offset, view.headTag)
  if (offset === view.first - 1) return placeOf(view, offset, view.firstTag)
  // The ring may hold what the store has let go of.
  const { tail } = log
  const known = page?.tagAt(offset) ?? tail.blockAfter({ epoch: view.epoch, offset, tag: 0 })?.tagAt(offset)
  if (known !== undefined) return placeOf(view, offset, known)
  const look = await log.pages.look(tail.stream, offset)
  if (look?.epoch === view.epoch && look.tag !== undefined) return placeOf(view, offset, look.tag)
  await tail.refresh()
  // A store that contradicts itself is asked again and again; the loop must turn meanwhile, here and above.
  await turn()
  return undefined
}

/** A join that nobody waits for any more ends here, and not when the stream stands still at last. */
function assertWanted(tail: Tail, signal: AbortSignal | undefined): void {
  signal?.throwIfAborted()
  if (tail.closed) throw new SseError('CLOSED', 'Nobody waits for this join any more.')
}

function placeOf(view: StreamView, offset: number, tag: number): Place {
  return { epoch: view.epoch, offset, tag }
}

export function samePlace(a: Place, b: Place): boolean {
  return a.offset === b.offset && a.tag === b.tag && a.epoch === b.epoch
}

export function gapItem(gap: Gap, place: Place): GapItem {
  return { type: 'gap', id: formatCursor(place), reason: gap.reason, missed: gap.missed }
}
