import type { Frame, Trace } from './trace.js'

/** What is later than this was held: half of a heartbeat, within what a busy network and a slow interval allow. */
export function lateAfter(heartbeatMs: number | undefined): number {
  return Math.max(250, Math.min(1_000, (heartbeatMs ?? 1_000) / 2))
}

/** How much later than the promptest one each frame with a time came. The clocks of both ends may differ by any amount. */
export function latenesses(frames: readonly Frame[]): number[] {
  const delays = frames.flatMap(({ ms, sentAt }) => (sentAt === undefined ? [] : [ms - sentAt]))
  const least = Math.min(...delays)
  return delays.map((delay) => delay - least)
}

/** The least difference between the arrival of a frame, in time since the epoch, and the time it carries. */
export function leastDelay({ frames, startedAt }: Trace): number | undefined {
  const delays = frames.flatMap(({ ms, sentAt }) => (sentAt === undefined ? [] : [startedAt + ms - sentAt]))
  return delays.length > 0 ? Math.min(...delays) : undefined
}

/** Bytes that arrived together. */
export interface Lump {
  readonly ms: number
  readonly endMs: number
  readonly bytes: number
  /** How many frames were finished by it. */
  readonly frames: number
  readonly isMidFrame: boolean
}

/** Closer than this is together: a proxy that sends on what it held does it in a few writes. */
const TOGETHER_MS = 25

export function lumps({ chunks, frames }: Pick<Trace, 'chunks' | 'frames'>): Lump[] {
  const found: Omit<Lump, 'frames'>[] = []
  for (const { ms, bytes, isMidFrame } of chunks) {
    const last = found.at(-1)
    if (last && ms - last.endMs <= TOGETHER_MS) {
      found[found.length - 1] = { ms: last.ms, endMs: ms, bytes: last.bytes + bytes, isMidFrame }
    } else found.push({ ms, endMs: ms, bytes, isMidFrame })
  }
  let next = 0
  return found.map((lump, index) => {
    const from = next
    const until = found[index + 1]?.ms ?? Number.POSITIVE_INFINITY
    while (next < frames.length && (frames[next]?.ms ?? 0) < until) next++
    return { ...lump, frames: next - from }
  })
}

/** The longest time in which nothing came: from the head (or the start) to the first bytes, between bytes, and to the end. */
export function longestSilence(trace: Trace): number {
  let longest = 0
  let before = trace.connectMs ?? 0
  for (const { ms } of trace.chunks) {
    longest = Math.max(longest, ms - before)
    before = ms
  }
  return Math.max(longest, trace.watchedMs - before)
}

/** How much later each frame came here than at the origin, where both carried the same. */
export function behindOrigin(trace: Trace, origin: Trace): number[] {
  const arrivals = new Map<number, number[]>()
  for (const { mark, ms } of origin.frames) {
    const seen = arrivals.get(mark)
    if (seen) seen.push(origin.startedAt + ms)
    else arrivals.set(mark, [origin.startedAt + ms])
  }
  return trace.frames.flatMap(({ mark, ms, kind }) => {
    if (kind === 'ready' || kind === 'heartbeat' || kind === 'comment' || kind === 'fields') return []
    const at = arrivals.get(mark)?.shift()
    return at === undefined ? [] : [trace.startedAt + ms - at]
  })
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}
