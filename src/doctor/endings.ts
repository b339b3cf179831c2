import type { Finding } from './diagnosis.js'
import { seconds } from './say.js'
import { byWhom, type Seen, summary } from './seen.js'
import type { Trace } from './trace.js'

/** A 200 that is over as soon as it began. */
export function endedAtOnce({ trace, asked, origin }: Seen): Finding | undefined {
  const { stopped, head, watchedMs, frames, endReason } = trace
  const isOver = stopped === 'ended' || stopped === 'cut'
  const carried = frames.some(({ kind }) => kind === 'event' || kind === 'heartbeat')
  if (!isOver || carried || endReason !== undefined || watchedMs - (head?.ms ?? 0) > 700) return undefined
  const isSame = origin ? isOverEarly(origin, trace) : asked !== undefined
  const where = asked === undefined ? 'unknown' : isSame ? 'application' : 'proxy'
  return {
    verdict: 'ended-at-once',
    outcome: 'problem',
    line: `ended at once${byWhom(where)}`,
    reason: {
      unknown: 'A 200 without a stream: the handler returned, or a proxy does not pass a response on that stays open.',
      application: 'The origin ends the response as well: its handler returns, or fails, after the head.',
      proxy: 'The origin keeps its response open; what is in front of it ends it.',
    }[where],
    where,
    evidence: [`${summary(trace)}, ${seconds(watchedMs - (head?.ms ?? 0))} after the head`],
  }
}

/** Less silence than this is no idle timeout of anything. */
const MIN_IDLE_MS = 900

/** A stream that ended without having said so. */
export function cut(seen: Seen): Finding | undefined {
  const { trace, origin } = seen
  const { stopped, endReason, chunks, watchedMs, head, failure, frames } = trace
  if ((stopped !== 'ended' && stopped !== 'cut' && failure?.phase !== 'decode') || endReason !== undefined)
    return undefined
  const times = [head?.ms ?? 0, ...chunks.map(({ ms }) => ms)]
  const gaps = times.slice(1).map((ms, index) => ms - (times[index] ?? 0))
  const idle = watchedMs - (times.at(-1) ?? 0)
  const isIdle = idle >= MIN_IDLE_MS && idle > 1.1 * Math.max(0, ...gaps)
  const isOurs = frames.some(({ kind }) => kind === 'ready')
  const isOutlived = origin !== undefined && !isOverEarly(origin, trace)
  // Of another's stream that ends in order after its last event, nobody can say that it should not.
  if (stopped === 'ended' && !isOurs && !isIdle && !isOutlived) return undefined
  const where = origin === undefined ? 'unknown' : isOutlived ? 'proxy' : 'application'
  const how =
    stopped === 'ended'
      ? 'the response ended in order, without `stream:end`'
      : `the connection was cut (${failure?.code ?? 'no code'})`
  const evidence = [
    `${how} after ${seconds(watchedMs)}, ${seconds(idle)} after the last byte`,
    ...(isOutlived ? ['at the same time, the response of the origin stayed open'] : []),
    ...(trace.isMidFrame ? ['it ended in the middle of an event'] : []),
    ...(trace.heartbeatMs === undefined
      ? []
      : [`the stream announced a heartbeat every ${seconds(trace.heartbeatMs)}`]),
  ]
  if (isIdle) {
    return {
      verdict: 'cut-when-idle',
      outcome: 'problem',
      line: `cut when idle after ~${seconds(idle)}${byWhom(where)}`,
      reason: `Something on the path gives up after ${seconds(idle)} without a byte. The heartbeat must be well below that, or its timeout above the heartbeat.`,
      where,
      evidence,
    }
  }
  return {
    verdict: 'cut',
    outcome: 'problem',
    line: `cut after ${seconds(watchedMs)}, though bytes were flowing${byWhom(where)}`,
    reason: {
      unknown: 'A limit on the age or size of a response, a restart, or a failing handler.',
      proxy: 'The origin goes on: a limit on the age or size of a response in front of it.',
      application: 'The origin ends as well: its handler, its server’s limits, or a restart.',
    }[where],
    where,
    evidence,
  }
}

/** Whether the origin's response, too, was over by about the time the other one was. */
function isOverEarly(origin: Trace, { watchedMs }: Trace): boolean {
  const isOver = origin.stopped === 'ended' || origin.stopped === 'cut'
  return isOver && origin.endReason === undefined && origin.watchedMs < 1.3 * watchedMs + 500
}
