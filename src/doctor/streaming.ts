import type { Finding } from './diagnosis.js'
import { cut, endedAtOnce } from './endings.js'
import { headersStripped } from './hints.js'
import { lateAfter, leastDelay, lumps } from './lateness.js'
import { count, seconds } from './say.js'
import { byWhom, named, type Rule, type Seen, summary } from './seen.js'
import { codingOf, field, fields, isEventStream, type Trace } from './trace.js'

/** The rules for what has the head of a stream, in order. The last always applies. */
export const STREAMING: readonly Rule[] = [
  { verdict: 'cached', judge: cached },
  { verdict: 'ended-at-once', judge: endedAtOnce },
  { verdict: 'compressed', judge: (seen) => (isHeldEvenPlain(seen) ? undefined : compressed(seen)) },
  { verdict: ['buffered-by-proxy', 'buffered-by-application', 'buffered'], judge: buffered },
  { verdict: 'compressed', judge: compressed },
  { verdict: ['cut-when-idle', 'cut'], judge: cut },
  { verdict: 'head-late', judge: headLate },
  { verdict: 'headers-stripped', judge: headersStripped },
  { verdict: 'quiet', judge: quiet },
  { verdict: 'ok', judge: ok },
]

const CACHES = ['x-cache', 'cf-cache-status', 'x-cache-status', 'x-proxy-cache', 'x-vercel-cache']

function cached({ trace, origin }: Seen): Finding | undefined {
  const evidence = CACHES.flatMap((name) =>
    /\bhit\b/i.test(fields(trace, name)) ? [`${name}: ${fields(trace, name)}`] : [],
  )
  if (Number(field(trace, 'age') ?? 0) > 0) evidence.push(`age: ${field(trace, 'age')}`)
  const ready = trace.frames.find(({ kind }) => kind === 'ready')
  const base = origin && leastDelay(origin)
  if (origin && trace.connection !== undefined && trace.connection === origin.connection) {
    evidence.push('`stream:ready` names the same connection as at the origin')
  }
  if (ready?.sentAt !== undefined && base !== undefined && ready.sentAt + base < trace.startedAt - 2_000) {
    evidence.push(`\`stream:ready\` was made ${seconds(trace.startedAt - ready.sentAt - base)} before it was asked for`)
  }
  if (evidence.length === 0) return undefined
  return {
    verdict: 'cached',
    outcome: 'problem',
    line: 'cached: the answer was made for another request',
    reason: 'A cache on the path keeps streams. Their path must be excluded from it.',
    where: 'proxy',
    evidence,
  }
}

/** Whether the same, asked for without compression, is held as well: then compression is not what holds it. */
function isHeldEvenPlain({ trace, hold, proxies }: Seen): boolean {
  const plain = trace.plain
  // Varnish with do_gzip compresses for everyone, and unpacks for who did not ask for it.
  if (!hold || !plain || plain.stopped === 'aborted' || proxies.includes('varnish')) return false
  if (!plain.head) return true
  return isEventStream(plain) && plain.frames.length <= trace.frames.length && !isPrompt(plain)
}

function isPrompt(trace: Trace): boolean {
  const first = trace.frames[0]
  return (
    first !== undefined && first.ms - (trace.connectMs ?? 0) < lateAfter(trace.heartbeatMs) && trace.stopped !== 'ended'
  )
}

function compressed(seen: Seen): Finding | undefined {
  const { trace, origin, hold } = seen
  const coding = codingOf(trace)
  if (coding === undefined) return undefined
  const where = origin === undefined ? 'unknown' : codingOf(origin) === undefined ? 'proxy' : 'application'
  const isHeld = hold !== undefined || trace.frames.length === 0
  return {
    verdict: 'compressed',
    outcome: 'problem',
    line: `compressed${byWhom(where)}: ${coding}, ${isHeld ? 'and held by it' : 'though each event still comes at once'}`,
    reason: isHeld
      ? 'What compresses waits for more to compress. Streams must be left as they are.'
      : 'It works as long as every event is flushed. It costs memory for each connection, and one step on the path that does not flush holds everything.',
    where,
    evidence: [
      `content-encoding: ${coding}`,
      ...(origin ? [`from the origin: ${codingOf(origin) ?? 'none'}`] : []),
      ...(trace.frames.length === 0 ? [`no frame came in ${seconds(trace.watchedMs)}`] : []),
      ...(hold?.evidence ?? []),
      ...(trace.plain && isPrompt(trace.plain) ? ['asked for without compression, the first frame comes at once'] : []),
    ],
  }
}

const SHAPES = {
  whole: 'the whole response is kept until its end',
  size: 'bytes are kept until a buffer is full',
  last: 'each event is kept until the next one',
  delay: 'each event is kept for a while',
  start: 'the beginning is kept for a while',
  silent: 'nothing comes through',
  beats: 'the announced heartbeats do not come through',
  lumps: 'events are kept and come several at once',
}

function buffered(seen: Seen): Finding | undefined {
  const { trace, origin, hold, originHold, proxies } = seen
  if (!hold) return undefined
  const isProven = trace.frames.some(({ sentAt }) => sentAt !== undefined)
  const where = originHold ? 'application' : origin ? 'proxy' : isProven && proxies.length > 0 ? 'proxy' : 'unknown'
  const how = SHAPES[hold.shape]
  const reasons = {
    application:
      'The origin itself sends late: a middleware that compresses or buffers, or a server that does not flush.',
    proxy: origin
      ? 'The origin sends at once; what is in front of it holds the stream.'
      : `The server sends at once, by its own clock, and the answer names ${named(proxies)}. Ask the origin as well (--origin) to be sure.`,
    unknown: 'A proxy holds it, or the application does. Name the origin with --origin to tell the two apart.',
  }
  return {
    verdict: where === 'unknown' ? 'buffered' : `buffered-by-${where}`,
    outcome: 'problem',
    line: `buffered${byWhom(where)}: ${how}`,
    reason: reasons[where],
    where,
    evidence: [...hold.evidence, ...(originHold?.evidence.map((each) => `at the origin: ${each}`) ?? [])],
  }
}

const LATE_HEAD_MS = 700

function headLate({ trace, origin }: Seen): Finding | undefined {
  const headMs = headTime(trace)
  if (headMs < LATE_HEAD_MS + 3 * (trace.connectMs ?? 0)) return undefined
  const where = origin === undefined ? 'unknown' : headTime(origin) > headMs / 2 ? 'application' : 'proxy'
  return {
    verdict: 'head-late',
    outcome: 'problem',
    line: `head late: it came after ${seconds(headMs)}${byWhom(where)}`,
    reason: {
      unknown:
        'The application does not flush the head before its first event, or takes long to begin; or a proxy holds the head.',
      application: 'The application does not flush the head before its first event, or takes long to begin.',
      proxy: 'What is in front of the origin holds the head until the first bytes follow.',
    }[where],
    where,
    evidence: [
      `the head came ${seconds(headMs)} after the connection stood`,
      ...(trace.chunks[0]
        ? [`the first byte came ${seconds(trace.chunks[0].ms - (trace.head?.ms ?? 0))} after the head`]
        : []),
      ...(origin ? [`at the origin, the head took ${seconds(headTime(origin))}`] : []),
    ],
  }
}

const headTime = ({ head, connectMs = 0 }: Trace) => (head?.ms ?? 0) - connectMs

function quiet({ trace, origin }: Seen): Finding | undefined {
  const { frames, watchedMs, heartbeatMs, stopped } = trace
  const arrivals = lumps(trace).length
  if (heartbeatMs !== undefined || stopped === 'ended' || arrivals > 1) return undefined
  if (origin && frames.length > 0 && frames.length >= origin.frames.length) return undefined
  const isBoth = origin !== undefined && origin.frames.length <= frames.length
  const what = frames.length === 0 ? 'no bytes' : `nothing after the first ${count(frames.length, 'frame')}`
  return {
    verdict: 'quiet',
    outcome: 'unknown',
    line: `${what} within ${seconds(watchedMs)}: cannot tell buffered from quiet`,
    reason: isBoth
      ? 'The origin is as silent: nothing was sent that could be held. Let something be sent meanwhile, or watch for longer (--seconds).'
      : 'The stream may have had nothing to say, or a proxy may hold what it said. Give --origin, let something be sent meanwhile, or watch for longer (--seconds).',
    where: 'unknown',
    evidence: [summary(trace), ...(origin ? [`the origin: ${summary(origin)}`] : [])],
  }
}

function ok({ trace, origin }: Seen): Finding {
  const beats = trace.frames.filter(({ kind }) => kind === 'heartbeat').length
  const first = trace.chunks[0]
  const arrivals = lumps(trace).length
  return {
    verdict: 'ok',
    outcome: 'ok',
    line: 'ok',
    reason: origin
      ? 'What the origin sends arrives at once.'
      : beats > 0
        ? 'The head, the first frame and the heartbeats arrive when they are sent.'
        : 'The head and what follows arrive one by one, with no sign of a buffer.',
    where: 'nowhere',
    evidence: [
      `head after ${seconds(trace.head?.ms ?? 0)}${first ? `, first byte after ${seconds(first.ms)}` : ''}`,
      `${count(trace.frames.length, 'frame')} in ${count(arrivals, 'arrival')}, ${count(beats, 'heartbeat')} with a time`,
    ],
  }
}
