import { describe, expect, test } from 'vitest'
import { diagnose } from '../../src/doctor/diagnose.js'
import type { Frame, FrameKind, Trace } from '../../src/doctor/trace.js'

const START = 1_760_000_000_000
/** The server's clock is a minute ahead: no rule may take two clocks for one. */
const AHEAD = 60_000
const STREAM = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

/** What arrived: when, what, and when it was sent, if it says so. */
type Arrival = readonly [ms: number, kind: FrameKind, sentMs?: number | undefined]

function traceOf(
  arrivals: readonly Arrival[],
  changes: Partial<Trace> = {},
  headers: Record<string, string> = STREAM,
  status = 200,
): Trace {
  const frames: Frame[] = arrivals.map(([ms, kind, sentMs], index) => ({
    ms,
    kind,
    bytes: 30,
    mark: index,
    ...(sentMs !== undefined && { sentAt: START + AHEAD + sentMs }),
  }))
  return {
    url: 'https://app.example/events',
    startedAt: START,
    limitMs: 20_000,
    watchedMs: 20_000,
    sent: [],
    redirects: [],
    connectMs: 5,
    head: { ms: 10, status, httpVersion: '1.1', headers: Object.entries(headers) },
    chunks: frames.map(({ ms, bytes }) => ({ ms, bytes, isMidFrame: false })),
    frames,
    body: 'events',
    isMidFrame: false,
    isMidLine: false,
    stopped: 'limit',
    ...(arrivals.some(([, kind]) => kind === 'ready') && { heartbeatMs: 5_000 }),
    ...changes,
  }
}

const prompt: readonly Arrival[] = [
  [12, 'ready', 11],
  [5_002, 'heartbeat', 5_001],
  [10_002, 'heartbeat', 10_001],
  [15_002, 'heartbeat', 15_001],
]
const late = (ms: number) => prompt.map(([at, kind, sent]): Arrival => [at + ms, kind, sent])
const together = (at: number) => prompt.map(([, kind, sent]): Arrival => [at, kind, sent])
const foreign: readonly Arrival[] = [1, 2, 3, 4, 5, 6].map((n) => [n * 1_000, 'event'])
const headed = (status: number, headers: Record<string, string> = {}, changes: Partial<Trace> = {}) =>
  traceOf([], { body: 'none', stopped: 'ended', watchedMs: 20, ...changes }, headers, status)
const without = (...names: string[]) =>
  Object.fromEntries(Object.entries(STREAM).filter(([name]) => !names.includes(name)))
const nowhere = (phase: 'lookup' | 'connect' | 'tls' | 'head', code: string): Trace =>
  traceOf([], { head: undefined, body: 'none', stopped: 'failed', failure: { phase, code }, watchedMs: 30 })

const ok = traceOf(prompt)
const noHead = traceOf([], { head: undefined, body: 'none' })

/** In each row: what was seen, at the origin as well or not, and what is to be said. */
type Row = [about: string, line: string, trace: Trace, origin?: Trace]
const rows: Row[] = [
  ['all in time', 'ok', ok],
  ['all in time, as at the origin', 'ok', ok, ok],
  ['a stream of others, one event each second', 'ok', traceOf(foreign)],
  [
    'a response that says it ends',
    'ok',
    traceOf([...prompt, [15_500, 'end']], { stopped: 'ended', endReason: 'maxAge' }),
  ],
  ['heartbeats that come together', 'buffered: events are kept and come several at once', traceOf(together(15_100))],
  [
    'the same behind an nginx',
    'buffered by the proxy: events are kept and come several at once',
    traceOf(together(15_100), {}, { ...STREAM, server: 'nginx' }),
  ],
  [
    'the same at the origin',
    'buffered by the application: events are kept and come several at once',
    traceOf(together(15_100)),
    traceOf(together(15_100)),
  ],
  [
    'nothing, while the origin sends',
    'buffered by the proxy: nothing comes through',
    traceOf([], { body: 'none' }),
    ok,
  ],
  ['not even a head, while the origin sends', 'buffered by the proxy: not even the head comes through', noHead, ok],
  ['each frame 3 s late', 'buffered by the proxy: each event is kept for a while', traceOf(late(3_000)), ok],
  [
    'each frame with the next',
    'buffered by the proxy: each event is kept until the next one',
    traceOf(late(5_000).slice(0, 3)),
    ok,
  ],
  [
    'a ready that comes with the first heartbeat',
    'buffered: each event is kept until the next one',
    traceOf([
      [5_000, 'ready', 11 - AHEAD],
      [10_000, 'heartbeat', 5_001 - AHEAD],
    ]),
  ],
  [
    'an announced heartbeat that does not come',
    'buffered: the announced heartbeats do not come through',
    traceOf([[12, 'ready', 11]]),
  ],
  [
    'a length',
    'buffered: the whole response is kept until its end',
    traceOf(foreign, {}, { ...STREAM, 'content-length': '400' }),
  ],
  [
    'all of it at the end, by its times',
    'buffered: the whole response is kept until its end',
    traceOf(together(15_100), { stopped: 'ended', watchedMs: 15_110 }),
  ],
  [
    'all of it with the head and the end',
    'buffered: the whole response is kept until its end',
    traceOf(
      foreign.map((): Arrival => [3_010, 'event']),
      {
        head: { ms: 3_000, status: 200, httpVersion: '1.1', headers: Object.entries(STREAM) },
        stopped: 'ended',
        watchedMs: 3_020,
      },
    ),
  ],
  [
    'bytes that stop within a line',
    'buffered: bytes are kept until a buffer is full',
    traceOf([], { chunks: [{ ms: 12, bytes: 64, isMidFrame: true }], isMidFrame: true, isMidLine: true }),
  ],
  [
    'gzip, in time',
    'compressed: gzip, though each event still comes at once',
    traceOf(prompt, {}, { ...STREAM, 'content-encoding': 'gzip' }),
  ],
  [
    'gzip, and nothing',
    'compressed by the proxy: gzip, and held by it',
    traceOf([], { body: 'none' }, { ...STREAM, 'content-encoding': 'gzip' }),
    ok,
  ],
  [
    'gzip at the origin too',
    'compressed by the application: br, and held by it',
    traceOf([], { body: 'none' }, { ...STREAM, 'content-encoding': 'br' }),
    traceOf([], { body: 'none' }, { ...STREAM, 'content-encoding': 'br' }),
  ],
  [
    'hints that are gone',
    'headers stripped: cache-control: no-transform, x-accel-buffering: no',
    traceOf(prompt, {}, without('cache-control', 'x-accel-buffering')),
    ok,
  ],
  ['a hint that an nginx heeded', 'ok', traceOf(prompt, {}, { ...without('x-accel-buffering'), server: 'nginx' }), ok],
  [
    'a hint that something else removed',
    'headers stripped: x-accel-buffering: no',
    traceOf(prompt, {}, without('x-accel-buffering')),
    ok,
  ],
  [
    'a head after 3 s',
    'head late: it came after 3 s by the application',
    traceOf(
      [
        [3_000, 'event'],
        [4_000, 'event'],
      ],
      { head: { ms: 3_000, status: 200, httpVersion: '1.1', headers: Object.entries(STREAM) } },
    ),
    traceOf(
      [
        [3_000, 'event'],
        [4_000, 'event'],
      ],
      { head: { ms: 3_000, status: 200, httpVersion: '1.1', headers: Object.entries(STREAM) } },
    ),
  ],
  [
    'a hit of a cache',
    'cached: the answer was made for another request',
    traceOf(prompt, {}, { ...STREAM, age: '31' }),
  ],
  [
    'a ready of an hour ago',
    'cached: the answer was made for another request',
    traceOf([
      [12, 'ready', -3_600_000],
      [14, 'event'],
      [900, 'event'],
    ]),
    ok,
  ],
  [
    'a cut after a silence',
    'cut when idle after ~60 s',
    traceOf([[12, 'ready', 11]], {
      heartbeatMs: 90_000,
      stopped: 'cut',
      watchedMs: 60_015,
      failure: { phase: 'body', code: 'ECONNRESET' },
    }),
  ],
  [
    'an end in order after a silence',
    'cut when idle after ~60 s',
    traceOf([[12, 'event']], { stopped: 'ended', watchedMs: 60_015 }),
  ],
  [
    'a cut while events flow',
    'cut after 6.1 s, though bytes were flowing',
    traceOf(foreign, { stopped: 'cut', watchedMs: 6_100, failure: { phase: 'body', code: 'ECONNRESET' } }),
  ],
  ['an answer of others that is complete', 'ok', traceOf(foreign, { stopped: 'ended', watchedMs: 6_001 })],
  ['a 200 that is over', 'ended at once by the proxy', headed(200, STREAM), ok],
  ['a page', 'not an event stream: a page', headed(200, { 'content-type': 'text/html' }, { body: 'html' })],
  ['a page under the type of a stream', 'not an event stream: a page', headed(200, STREAM, { body: 'html' })],
  [
    'events of another type',
    'not an event stream: events by the proxy',
    traceOf(prompt, {}, { 'content-type': 'text/plain' }),
    ok,
  ],
  [
    'a login',
    'redirected to a login: no event stream',
    headed(
      200,
      { 'content-type': 'text/html' },
      { body: 'html', redirects: [{ status: 302, to: 'https://app.example/login' }] },
    ),
  ],
  ['401', 'unauthorised: 401', headed(401)],
  ['403', 'unauthorised: 403', headed(403)],
  ['404', 'not found: 404', headed(404)],
  ['405', 'refused: 405', headed(405)],
  ['502', 'upstream failed: 502', headed(502), ok],
  ['524', 'upstream failed: 524', headed(524)],
  ['204', 'complete: 204, nothing follows', headed(204)],
  ['a name that is not known', 'unreachable: DNS, ENOTFOUND', nowhere('lookup', 'ENOTFOUND')],
  [
    'a certificate of another name',
    'unreachable: TLS, ERR_TLS_CERT_ALTNAME_INVALID',
    nowhere('tls', 'ERR_TLS_CERT_ALTNAME_INVALID'),
  ],
  ['a closed door', 'no answer: closed after 30 ms', nowhere('head', 'ECONNRESET')],
  ['silence before the head', 'no answer in 20 s', noHead],
  ['silence after the head', 'no bytes within 20 s: cannot tell buffered from quiet', traceOf([], { body: 'none' })],
  [
    'silence here and at the origin',
    'no bytes within 20 s: cannot tell buffered from quiet',
    traceOf([], { body: 'none' }),
    traceOf([], { body: 'none' }),
  ],
]

test.each<Row>(rows)('%s: %s', (_, line, trace, origin) => {
  const diagnosis = diagnose(trace, origin)
  expect(diagnosis.line).toBe(line)
  expect(diagnosis.reason).not.toBe('')
  expect(diagnosis.evidence.length).toBeGreaterThan(0)
})

describe('a diagnosis', () => {
  test('is pure, and survives JSON', () => {
    for (const [, , trace, origin] of rows) {
      const once = diagnose(trace, origin)
      const copy = (value: Trace) => JSON.parse(JSON.stringify(value)) as Trace
      expect(diagnose(copy(trace), origin && copy(origin))).toEqual(once)
      expect(JSON.parse(JSON.stringify(once))).toEqual(once)
    }
  })

  test('names what mends it for the proxy that the head names', () => {
    const varnish = diagnose(traceOf(together(15_100), {}, { ...STREAM, via: '1.1 varnish (Varnish/7.1)' }))
    expect(varnish.mend[0]?.title).toBe('Varnish')
    expect(varnish.mend[0]?.lines.join('\n')).toContain('do_gzip = false')
    const idle = diagnose(
      traceOf([[12, 'event']], { stopped: 'cut', watchedMs: 60_015 }, { ...STREAM, server: 'nginx/1.22.1' }),
    )
    expect(idle.mend[0]?.lines).toContain('proxy_read_timeout 1h;')
  })

  test('gives nothing to mend where nothing is wrong', () => {
    expect(diagnose(ok)).toMatchObject({ outcome: 'ok', mend: [], also: [], where: 'nowhere' })
  })

  test('finds no fault in one late frame of many', () => {
    const arrivals = [
      ...prompt,
      ...prompt.slice(1).map(([ms, kind, sent = 0]): Arrival => [ms + 15_000, kind, sent + 15_000]),
    ]
    const one = arrivals.map((each, index): Arrival => (index === 3 ? [each[0] + 1_500, each[1], each[2]] : each))
    expect(diagnose(traceOf(one)).verdict).toBe('ok')
  })
})
