import {
  behindOrigin,
  type Lump,
  lateAfter,
  latenesses,
  leastDelay,
  longestSilence,
  lumps,
  median,
} from './lateness.js'
import { size as inBytes, seconds } from './say.js'
import { codingOf, type Frame, isEventStream, type Trace } from './trace.js'

/** How a stream was held back on its way. */
export interface Hold {
  /**
   * `whole`: until its end. `size`: until a buffer is full. `last`: each frame until the next. `delay`: each for the
   * same time. `start`: its beginning. `silent`: nothing comes through. `beats`: the heartbeats do not come through.
   * `lumps`: several at once, by no rule seen.
   */
  readonly shape: 'whole' | 'size' | 'last' | 'delay' | 'start' | 'silent' | 'beats' | 'lumps'
  readonly evidence: readonly string[]
}

/** Less than this is no buffer for streams but an event. */
const MIN_BUFFER_BYTES = 512

/**
 * Whether, and how, frames came later than they were sent.
 *
 * @param origin - the same stream, asked at the same time where it begins; an event stream that was seen to be prompt.
 */
export function holdOf(trace: Trace, origin?: Trace): Hold | undefined {
  const evidence = [...againstTheirTimes(trace, origin), ...againstOrigin(trace, origin), ...againstPromise(trace)]
  const bySize = sizeOf(trace)
  if (trace.chunks.length === 0 && origin !== undefined && origin.frames.length > 0) {
    return { shape: trace.stopped === 'ended' ? 'whole' : 'silent', evidence }
  }
  if (bySize !== undefined) {
    const cut = trace.chunks.some(({ isMidFrame }) => isMidFrame) ? ', cut in the middle of events' : ''
    evidence.push(`the bytes came in lumps of about ${inBytes(bySize)}${cut}`)
  }
  if (stopsMidLine(trace)) evidence.push('the bytes stop in the middle of a line, and the rest does not follow')
  if (cameWithItsEnd(trace))
    evidence.push(
      `all ${trace.frames.length} frames came together, with the head and the end, after ${seconds(trace.watchedMs)}`,
    )
  if (hasLength(trace)) evidence.push('the head names a content-length: the response was complete before it was sent')
  if (evidence.length === 0) return undefined
  return { shape: shapeOf(trace, origin, bySize), evidence }
}

/** Frames carry the server's time: the differences between those are known, whatever its clock says. */
function againstTheirTimes(trace: Trace, origin: Trace | undefined): string[] {
  const late = lateAfter(trace.heartbeatMs)
  const found: string[] = []
  const stamped = trace.frames.filter(({ sentAt }) => sentAt !== undefined)
  const held = latenesses(trace.frames).filter((each) => each > late)
  // One of many may be late for any reason.
  if (held.length > 1 || (held.length === 1 && stamped.length <= 3)) {
    const most = Math.max(...held)
    found.push(`${held.length} of ${stamped.length} frames with a time came late, by up to ${seconds(most)}`)
  }
  const [first] = stamped
  const [before, after] = [leastDelay(trace), origin && leastDelay(origin)]
  if (before !== undefined && after !== undefined) {
    const constant = before - after
    if (constant > late + (trace.connectMs ?? 0)) {
      found.push(`every frame with a time came at least ${seconds(constant)} later than from the origin`)
    }
  } else if (first && wasHeldAtStart(trace, first)) {
    const sent = `${first.kind === 'ready' ? '`stream:ready`' : 'the first heartbeat'} was sent at once, by the server's clock`
    found.push(`${sent}, and came after ${seconds(first.ms)}`)
  }
  return found
}

/** That the server's clock is right is likely when it puts the first frame just where the request was. */
function wasHeldAtStart(trace: Trace, { kind, ms, sentAt = 0 }: Frame): boolean {
  if (kind !== 'ready') return false
  const asked = trace.connectMs ?? 0
  const delay = trace.startedAt + ms - sentAt
  const waited = ms - asked
  return waited > lateAfter(trace.heartbeatMs) + asked && delay > 0.6 * waited && delay < 1.1 * ms
}

function againstOrigin(trace: Trace, origin: Trace | undefined): string[] {
  const first = origin?.frames[0]
  if (!origin || !first) return []
  const late = lateAfter(trace.heartbeatMs ?? origin.heartbeatMs) + (trace.connectMs ?? 0)
  const came = trace.frames[0]
  if (!came) {
    // A response that was over before the origin had anything to say was not held.
    const isOver = trace.watchedMs < first.ms + late
    return isOver
      ? []
      : [`no frame came in ${seconds(trace.watchedMs)}; the first from the origin came after ${seconds(first.ms)}`]
  }
  const found: string[] = []
  if (came.ms - first.ms > late) {
    found.push(`the first frame came after ${seconds(came.ms)}, from the origin after ${seconds(first.ms)}`)
  }
  const behind = behindOrigin(trace, origin)
  const held = behind.filter((each) => each > late)
  if (held.length > 1 || (held.length === 1 && behind.length <= 3)) {
    found.push(
      `${held.length} of ${behind.length} events came later than from the origin, by up to ${seconds(Math.max(...held))}`,
    )
  }
  const [here, there] = [longestSilence(trace), longestSilence(origin)]
  const perLump = (each: Trace) => each.frames.length / Math.max(1, lumps(each).length)
  const isBunched = perLump(trace) > 1.8 * perLump(origin)
  if (here > 2 * there + late && trace.stopped !== 'cut' && (isBunched || behind.length === 0)) {
    found.push(`nothing came for ${seconds(here)}, while the origin was never silent for more than ${seconds(there)}`)
  }
  return found
}

/** A stream that said how often it beats, and does not. */
function againstPromise({ heartbeatMs, frames, chunks, watchedMs, stopped }: Trace): string[] {
  const last = chunks.at(-1)
  if (heartbeatMs === undefined || !last || stopped === 'ended' || stopped === 'cut') return []
  const silence = watchedMs - last.ms
  if (silence < 2 * heartbeatMs + lateAfter(heartbeatMs)) return []
  const beats = frames.filter(({ kind }) => kind === 'heartbeat').length
  const announced = `a heartbeat every ${seconds(heartbeatMs)} was announced`
  return [
    beats === 0 ? `${announced}, and none came` : `${announced}, and nothing came for the last ${seconds(silence)}`,
  ]
}

/** The size of a buffer that was sent on whenever it was full. */
function sizeOf(trace: Trace): number | undefined {
  if (codingOf(trace) !== undefined) return undefined
  const all = lumps(trace)
  // The last may be what was left.
  const full = trace.stopped === 'ended' || trace.stopped === 'cut' ? all.slice(0, -1) : all
  const size = median(full.map(({ bytes }) => bytes))
  const cuts = full.filter(({ isMidFrame }) => isMidFrame).length
  const isEven = full.every(({ bytes }) => Math.abs(bytes - size) <= 0.1 * size)
  const several = full.filter(({ frames }) => frames > 1).length
  if (full.length < 2 || size < MIN_BUFFER_BYTES || cuts < full.length / 2) return undefined
  return isEven || several >= full.length / 2 ? size : undefined
}

/** Servers write whole frames: what keeps the rest of one is a buffer. */
function stopsMidLine(trace: Trace): boolean {
  const { isMidLine, stopped, watchedMs, chunks } = trace
  const isOpen = stopped !== 'ended' && stopped !== 'cut' && stopped !== 'failed'
  return isOpen && isMidLine && codingOf(trace) === undefined && watchedMs - (chunks.at(-1)?.ms ?? 0) > 1_000
}

/** Less than this is how long an answer may take. */
const MIN_WHOLE_MS = 700

/** One by one would be how a stream comes; an application that works this long and then says it all is no better. */
function cameWithItsEnd(trace: Trace): boolean {
  const { frames, stopped, watchedMs, head, connectMs = 0 } = trace
  const isLate = (head?.ms ?? 0) - connectMs > MIN_WHOLE_MS + connectMs
  const isOneLump = lumps(trace).length === 1 && watchedMs - (head?.ms ?? 0) < MIN_WHOLE_MS
  return stopped === 'ended' && frames.length >= 3 && isLate && isOneLump
}

function hasLength(trace: Trace): boolean {
  return isEventStream(trace) && trace.head?.headers.some(([name]) => name.toLowerCase() === 'content-length') === true
}

function shapeOf(trace: Trace, origin: Trace | undefined, bySize: number | undefined): Hold['shape'] {
  const { frames, heartbeatMs, stopped, watchedMs } = trace
  const all = lumps(trace)
  const late = lateAfter(heartbeatMs)
  if (stopsMidLine(trace) && frames.length < 2) return 'size'
  if (frames.length === 0) return 'silent'
  const isAtEnd = (stopped === 'ended' || stopped === 'cut') && watchedMs - (all[0]?.ms ?? 0) < late
  if (hasLength(trace) || (all.length === 1 && isAtEnd)) return 'whole'
  if (bySize !== undefined) return 'size'
  if (againstPromise(trace).length > 0 && latenesses(frames).every((each) => each <= late)) return 'beats'
  if (isOneBehind(trace, origin)) return 'last'
  const bunched = all.filter((each: Lump) => each.frames > 1).length
  if (bunched === 0) return all.length > 1 ? 'delay' : 'start'
  return bunched >= all.length / 2 ? 'lumps' : 'start'
}

/** Whether each frame came when the next was sent. */
function isOneBehind(trace: Trace, origin: Trace | undefined): boolean {
  const base = (origin && leastDelay(origin)) ?? 0
  const sent = new Map(origin?.frames.map(({ mark, ms }) => [mark, origin.startedAt + ms]))
  const known = trace.frames.flatMap(({ ms, mark, sentAt }) => {
    const from = sentAt === undefined ? sent.get(mark) : sentAt + base
    return from === undefined ? [] : [{ at: trace.startedAt + ms, from }]
  })
  const late = lateAfter(trace.heartbeatMs) / 2
  const beforeNext = known.slice(0, -1).map(({ at }, index) => at - (known[index + 1]?.from ?? 0))
  return beforeNext.length > 0 && beforeNext.every((each) => Math.abs(each) <= late)
}
