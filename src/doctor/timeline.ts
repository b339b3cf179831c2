import { seconds } from './say.js'
import type { FrameKind, Trace } from './trace.js'

const SIGNS: Readonly<Record<FrameKind, string>> = {
  ready: 'R',
  heartbeat: 'h',
  comment: 'c',
  event: 'e',
  gap: 'g',
  end: 'E',
  fields: 'f',
}
/** Several kinds, or several frames, in one place. */
const MANY = '#'

/** What arrived when, as one line of `width` places for `overMs` milliseconds. */
export function timeline({ head, frames, chunks, stopped, watchedMs }: Trace, overMs: number, width: number): string {
  const places = Array.from({ length: width }, () => '')
  const at = (ms: number) => Math.min(width - 1, Math.floor((ms / Math.max(1, overMs)) * width))
  for (let place = 0; place <= at(watchedMs); place++) places[place] = '·'
  const put = (ms: number, sign: string) => {
    const place = at(ms)
    places[place] = places[place] === '·' || places[place] === '-' || places[place] === '|' ? sign : MANY
  }
  if (head) put(head.ms, '|')
  // Bytes that finish no frame: a part of one, or a coding that gives nothing out yet.
  for (const { ms } of chunks) if (places[at(ms)] === '·') put(ms, '-')
  for (const { ms, kind } of frames) put(ms, SIGNS[kind])
  if (stopped === 'ended') places[at(watchedMs)] = places[at(watchedMs)] === '·' ? ']' : `${places[at(watchedMs)]}]`
  if (stopped === 'cut' || stopped === 'failed')
    places[at(watchedMs)] = places[at(watchedMs)] === '·' ? '✗' : `${places[at(watchedMs)]}✗`
  return places.join('')
}

/** What the signs in `traces` mean, and where its ends are. */
export function legend(traces: readonly Trace[], overMs: number): string {
  const kinds = new Set(traces.flatMap(({ frames }) => frames.map(({ kind }) => kind)))
  const words: [FrameKind, string][] = [
    ['ready', 'R ready'],
    ['heartbeat', 'h heartbeat'],
    ['comment', 'c comment'],
    ['event', 'e event'],
    ['gap', 'g gap'],
    ['end', 'E end'],
    ['fields', 'f fields'],
  ]
  const used = words.flatMap(([kind, word]) => (kinds.has(kind) ? [word] : []))
  return [`0 to ${seconds(overMs)}`, '| head', ...used, '# several', '] ended', '✗ cut'].join(' · ')
}
