/**
 * A proven place in a stream, as text: the wire's `id` and the client's `Last-Event-ID`.
 *
 * Opaque outside this library; printable ASCII, at most 64 bytes.
 */
export type Cursor = string

/**
 * What a cursor says: the incarnation of the stream, the number of the event in it, and the random
 * tag stored with that event, which unmasks a log that was cut back and written anew.
 */
export interface Place {
  readonly epoch: string
  readonly offset: number
  readonly tag: number
}

/** Longer inbound cursors are refused unread. */
export const MAX_CURSOR_INPUT = 1024

const GRAMMAR = /^([0-9a-z]{1,16})\.(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,6})$/

/**
 * What the last cursor was made of. One event mostly follows the other, and then only a few digits differ: to format the
 * rest again took a fifth of a publish.
 */
const last = { epoch: '', offset: -1, tag: -1, high: -1, start: '', line: '', tagHigh: -1, tagStart: '', end: '' }

export function formatCursor(place: Place): Cursor {
  const end = endOf(place)
  return last.start + end
}

/** The end of a frame: the cursor in a line of its own, and the blank line. Of two pieces: text of fewer is encoded sooner. */
export function formatIdLine(place: Place): string {
  const rest = `${endOf(place)}\n\n`
  return last.line + rest
}

/** What differs from cursor to cursor. What it follows is then `last.start`. */
function endOf({ epoch, offset, tag }: Place): string {
  if (offset === last.offset && tag === last.tag && epoch === last.epoch) return last.end
  const high = Math.floor(offset / 1_296)
  if (high !== last.high || epoch !== last.epoch) {
    last.epoch = epoch
    last.high = high
    // Joined, and so of one piece each.
    last.start = [epoch, '.', high === 0 ? '' : base36(high)].join('')
    last.line = ['\nid: ', last.start].join('')
  }
  const tagHigh = Math.floor(tag / 1_296)
  if (tagHigh !== last.tagHigh) {
    last.tagHigh = tagHigh
    last.tagStart = tagHigh === 0 ? '.' : `.${base36(tagHigh)}`
  }
  last.offset = offset
  last.tag = tag
  last.end = lowDigits(offset, high) + last.tagStart + lowDigits(tag, tagHigh)
  return last.end
}

/** The two digits that follow those of `high`, or the one or two that stand alone. */
function lowDigits(number: number, high: number): string {
  return high === 0 ? base36(number) : pair(number - high * 1_296)
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz'
/** All pairs of digits; made with the first cursor. */
const PAIRS: string[] = []
const MAX_INT32 = 2 ** 31 - 1

/** Two digits of a number below 1,296. */
function pair(number: number): string {
  if (PAIRS.length === 0) for (const high of DIGITS) for (const low of DIGITS) PAIRS.push(high + low)
  return PAIRS[number] as string
}

/** `toString(36)` of a whole number from 0, in half its time. */
function base36(number: number): string {
  if (number > MAX_INT32) return number.toString(36)
  let text = ''
  let rest = number
  while (rest >= 1_296) {
    const next = (rest / 1_296) | 0
    text = pair(rest - next * 1_296) + text
    rest = next
  }
  return (rest < 36 ? DIGITS.charAt(rest) : pair(rest)) + text
}

/** Reads a cursor; `null` when it is not one of ours. */
export function parseCursor(cursor: string): Place | null {
  if (cursor.length > MAX_CURSOR_INPUT) return null
  const match = GRAMMAR.exec(cursor)
  if (match === null) return null
  const [, epoch = '', offsetText = '', tagText = ''] = match
  const offset = Number.parseInt(offsetText, 36)
  const tag = Number.parseInt(tagText, 36)
  return Number.isSafeInteger(offset) && tag < 2 ** 32 ? { epoch, offset, tag } : null
}

export function randomEpoch(): string {
  return randomTag().toString(36) + randomTag().toString(36)
}

/** A tag for the next event of the same turn: as random as the first was, and formatted in less time. */
export function tagAfter(tag: number): number {
  return tag === MAX_INT32 ? 1 : tag + 1
}

/** Never 0: that is the tag of the place before the first event. Fits 31 bits, which engines count in fastest. */
export function randomTag(): number {
  return 1 + Math.floor(Math.random() * MAX_INT32)
}
