import { setTimeout as pause } from 'node:timers/promises'
import { type Asked, type AskOptions, ask } from './ask.js'
import type { Upstream } from './upstream.js'

/** Heartbeats of the hub whose streams stay idle: as 15 s are to the 60 s of most proxies, so are these to `IDLE_S`. */
export const HEARTBEAT_MS = 300
/** What proxies cut, in seconds. */
export const IDLE_S = 1
/** Between one event and the next. */
const CADENCE_MS = 300
const EVENTS = 10
/** Between the join and the first event: what comes meanwhile was not held until there was an event. */
const BEFORE_MS = 600
/** What is seen later was held back. */
const PROMPT_MS = 250
const PATIENCE_MS = 4_000

/** What is asserted, and what the documentation says: coarse, so that a busy machine says the same. */
export interface Verdicts {
  readonly head: 'prompt' | 'held'
  readonly first: 'prompt' | 'held'
  readonly events: 'prompt' | '200 ms late' | 'with the next' | 'in bunches' | 'held'
  readonly packed: 'no' | 'gzip'
  /** A stream without events over three times the proxy's limit. */
  readonly idle: 'kept' | 'cut' | 'kept, unseen'
  readonly leaving: 'noticed' | 'unnoticed'
  readonly post: 'ok' | 'fails'
}

export interface Measured {
  readonly verdicts: Verdicts
  /** The milliseconds, for the log. */
  readonly detail: string
}

/** Measures one way to a server, all at once: streams do not stand in each other's way. */
export async function measure(url: string, upstream: Upstream, options: AskOptions = {}): Promise<Measured> {
  const [events, kept, left, post] = await Promise.all([
    watchEvents(url, upstream, options),
    watchIdle(url, upstream, options),
    watchLeaving(url, upstream, options),
    watchPost(url, upstream, options),
  ])
  const { head, first, lateness, packed } = events
  return {
    verdicts: { head, first, events: events.verdict, packed, ...kept.verdicts, ...left.verdicts, ...post.verdicts },
    detail:
      `head ${events.headMs} ms, events late by ${lateness} ms, ${events.spacing} ms apart; ` +
      `idle ${kept.detail}; leaving ${left.detail}; POST ${post.detail}`,
  }
}

async function watchEvents(url: string, upstream: Upstream, options: AskOptions) {
  const asked = ask(`${url}/events/ten`, options)
  await within(upstream.opened('events/ten'), 'the request to reach the server', asked)
  const start = performance.now() + BEFORE_MS
  const publishedAt: number[] = []
  for (let n = 0; n < EVENTS; n++) {
    await pause(Math.max(0, start + n * CADENCE_MS - performance.now()))
    publishedAt.push(performance.now())
    await upstream.hub.publish('events/ten', { data: `event ${n}` })
  }
  await pause(2 * CADENCE_MS)
  const sealedAt = performance.now()
  await upstream.hub.seal('events/ten')
  await within(asked.over, 'the end of the stream', asked)
  const { eventAt } = asked
  const got = eventAt.length
  if (got !== EVENTS) throw new Error(`${got} of ${EVENTS} events came: ${asked.status} ${asked.body.slice(0, 500)}`)
  const lateness = publishedAt.map((at, n) => Math.round((eventAt[n] ?? Number.NaN) - at))
  const inTime = eventAt.filter((at) => at < sealedAt).length
  const [firstAt = 0] = publishedAt
  const { headAt = Number.POSITIVE_INFINITY } = asked
  return {
    head: headAt < firstAt ? ('prompt' as const) : ('held' as const),
    // HAProxy's 200 ms leave little room below `PROMPT_MS`; what is held comes with the second event or later.
    first: (lateness[0] ?? 0) < 0.9 * CADENCE_MS ? ('prompt' as const) : ('held' as const),
    verdict: verdictOn(lateness, inTime),
    packed: asked.encoding === 'gzip' ? ('gzip' as const) : ('no' as const),
    headMs: Math.round(headAt - asked.askedAt),
    lateness: rangeOf(lateness),
    spacing: rangeOf(eventAt.slice(1).map((at, n) => Math.round(at - (eventAt[n] ?? at)))),
  }
}

/**
 * Load delays some events, a proxy all of them: what is late by design is late each time, and what is prompt is
 * prompt for all but two.
 */
function verdictOn(lateness: readonly number[], inTime: number): Verdicts['events'] {
  const sorted = [...lateness].sort((a, b) => a - b)
  const [least = 0] = sorted
  const most = sorted.at(-3) ?? 0
  if (inTime === 0) return 'held'
  if (least < 100) return most < PROMPT_MS ? 'prompt' : 'in bunches'
  if (least >= 0.9 * CADENCE_MS) return inTime >= EVENTS - 1 ? 'with the next' : 'in bunches'
  return most < 2 * CADENCE_MS ? '200 ms late' : 'in bunches'
}

async function watchIdle(url: string, upstream: Upstream, options: AskOptions) {
  const asked = ask(`${url}/events/idle`, options)
  await within(upstream.opened('events/idle'), 'the idle stream to reach the server', asked)
  const openedAt = performance.now()
  await Promise.race([asked.over, pause(3 * IDLE_S * 1_000 + 200)])
  const { overAt, frames } = asked
  asked.leave()
  const idle = overAt ? ('cut' as const) : frames.bytes > 0 ? ('kept' as const) : ('kept, unseen' as const)
  const detail = `${overAt ? `cut after ${Math.round(overAt - openedAt)} ms` : idle}, ${frames.comments.length} heartbeats seen`
  return { verdicts: { idle }, detail }
}

async function watchLeaving(url: string, upstream: Upstream, options: AskOptions) {
  const asked = ask(`${url}/events/idle/leaving`, options)
  await within(upstream.opened('events/idle/leaving'), 'the leaving stream to reach the server', asked)
  await pause(HEARTBEAT_MS)
  const leftAt = performance.now()
  asked.leave()
  const reason = await Promise.race([upstream.closed('events/idle/leaving'), pause(PATIENCE_MS, 'no' as const)])
  return {
    verdicts: { leaving: reason === 'no' ? ('unnoticed' as const) : ('noticed' as const) },
    detail: reason === 'no' ? 'unnoticed' : `noticed after ${Math.round(performance.now() - leftAt)} ms (${reason})`,
  }
}

/** Twice with one key: the message is handled once, and answered twice. */
async function watchPost(url: string, upstream: Upstream, options: AskOptions) {
  const request = {
    ...options,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'key-1' },
    body: '{"text":"hello"}',
  }
  const answers: Asked[] = []
  for (let n = 0; n < 2; n++) {
    const asked = ask(`${url}/send`, request)
    await within(asked.over, 'the answer to a POST', asked)
    answers.push(asked)
  }
  const good = answers.every(({ status, body }) => status === 200 && body === '{"handled":1}')
  const replayed = answers[1]?.headers['idempotency-replayed'] === 'true'
  const isOk = good && replayed && upstream.messages.length === 1
  return {
    verdicts: { post: isOk ? ('ok' as const) : ('fails' as const) },
    detail: isOk
      ? 'ok'
      : `fails: ${answers.map(({ status, body }) => `${status} ${body}`)}, ${upstream.messages.length}`,
  }
}

export async function within<T>(promise: Promise<T>, what: string, asked: Asked): Promise<T> {
  const late = Symbol('late')
  const done = new AbortController()
  const result = await Promise.race([promise, pause(2 * PATIENCE_MS, late, { signal: done.signal }).catch(() => late)])
  done.abort()
  if (result === late) throw new Error(`waited in vain for ${what}: ${asked.status} ${asked.body.slice(0, 500)}`)
  return result as T
}

function rangeOf(numbers: readonly number[]): string {
  return `${Math.min(...numbers)}–${Math.max(...numbers)}`
}
