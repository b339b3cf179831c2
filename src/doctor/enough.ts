import { lateAfter, latenesses } from './lateness.js'
import type { Chunk, Frame } from './trace.js'

/** Whether what came, came by itself and in time often enough that more of it would say the same. */
export function isEnough(frames: readonly Frame[], chunks: readonly Chunk[], heartbeatMs: number | undefined): boolean {
  const [first] = frames
  const last = frames.at(-1)
  if (!first || !last) return false
  const beats = frames.filter(({ kind }) => kind === 'heartbeat').length
  if (heartbeatMs !== undefined) {
    return beats >= 2 && latenesses(frames).every((late) => late < lateAfter(heartbeatMs))
  }
  const arrivals = chunks.filter(({ ms }, index) => ms - (chunks[index - 1]?.ms ?? 0) > 50).length
  return frames.length >= 6 && arrivals >= 6 && last.ms - first.ms >= 3_000 && chunks.every((each) => !each.isMidFrame)
}
