import { expect, test, vi } from 'vitest'
import { connect } from '../../src/client/connect.js'
import type { ConnectOptions, StateListener } from '../../src/client/options.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { CUT, collect, end, event, HANG, ready, scripted, settle, states } from './scripted.js'

const url = 'https://example.com/events'

test('it starts at once, yet not before the caller has the stream', async () => {
  const server = scripted(({ answer }) => answer([ready({}, 'e.0'), HANG]))
  const heard: string[] = []
  const stream = connect(url, {
    fetch: server.fetch,
    clock: virtualClock(),
    onState: ({ state }) => heard.push(`${state} ${stream.state}`),
  })
  expect(stream.state).toBe('connecting')
  expect(heard).toEqual([])
  await stream.ready
  expect(heard).toEqual(['connecting connecting', 'open open'])
  expect([stream.state, stream.connection, stream.cursor]).toEqual(['open', 'c1', 'e.0'])
  stream.close()
  expect(stream.connection).toBeNull()
})

test('the first event of a foreign server makes it ready, a comment does not', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) => answer(number === 1 ? [': hello\n\n', HANG] : [event('a'), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock, silenceMs: 1_000 })
  await clock.advance(999)
  expect(stream.state).toBe('connecting')
  await clock.advance(10_000)
  await stream.ready
  expect(stream.connection).toBeNull()
  stream.close()
})

test('every change of state is told, with its reason, and never the query or a header', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const server = scripted(({ number, answer }) => {
    if (number === 1) return new Response('', { status: 503 })
    if (number === 2) return answer([ready({}, 'e.0'), event('a', 'e.1'), CUT])
    return answer([ready({ resumed: 'ok' }, 'e.1'), end('sealed')])
  })
  const stream = connect(`${url}?token=secret`, {
    fetch: server.fetch,
    clock,
    onState,
    headers: { authorization: 'secret' },
  })
  collect(stream)
  await clock.advance(10_000)
  expect(changes.map(({ delayMs, ...change }) => ({ ...change, waits: delayMs !== undefined }))).toEqual([
    { state: 'connecting', mode: 'stream', attempt: 1, reason: undefined, waits: false },
    { state: 'waiting', mode: 'stream', attempt: 1, reason: 'HTTP 503', waits: true },
    { state: 'connecting', mode: 'stream', attempt: 2, reason: undefined, waits: false },
    { state: 'open', mode: 'stream', attempt: 2, reason: undefined, waits: false },
    { state: 'waiting', mode: 'stream', attempt: 2, reason: 'the response broke off (TypeError)', waits: true },
    { state: 'connecting', mode: 'stream', attempt: 3, reason: undefined, waits: false },
    { state: 'open', mode: 'stream', attempt: 3, reason: undefined, waits: false },
    { state: 'closed', mode: 'stream', attempt: 3, reason: 'the stream is sealed', waits: false },
  ])
  expect(JSON.stringify(changes)).not.toContain('secret')
})

test('listeners come and go, and what they throw breaks nothing', async () => {
  const server = scripted(({ answer }) => answer([ready(), event('a', '1'), HANG]))
  const heard: string[] = []
  const stream = connect(url, {
    fetch: server.fetch,
    clock: virtualClock(),
    onState: () => {
      throw new Error('broken listener')
    },
  })
  const rejecting: unknown = () => Promise.reject(new Error('broken listener'))
  stream.onState(rejecting as StateListener)
  const off = stream.onState(({ state }) => heard.push(state))
  stream.onState(({ state }) => {
    if (state === 'open') off()
  })
  const got = collect(stream)
  await settle()
  stream.close()
  expect(got.texts).toEqual(['a'])
  expect(heard).toEqual(['connecting', 'open'])
})

test('a sealed stream ends normally, behind everything that was buffered', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) =>
    answer([ready({}, 'e.0'), event('a', 'e.1') + event('b', 'e.2') + end('sealed') + event('c', 'e.3')]),
  )
  const stream = connect(url, { fetch: server.fetch, clock })
  await clock.advance(600_000)
  expect(stream.state).toBe('closed')
  const got = collect(stream)
  await settle()
  expect(got).toMatchObject({ texts: ['a', 'b'], done: true, error: undefined })
  expect(stream.cursor).toBe('e.2')
  expect([server.requests.length, server.open, clock.pending]).toEqual([1, 0, 0])
})

test('the request says what it wants, and carries what it is given', async () => {
  const server = scripted(({ answer }) => answer([HANG]))
  const stream = connect(url, {
    fetch: server.fetch,
    clock: virtualClock(),
    method: 'POST',
    body: '{}',
    credentials: 'include',
    headers: new Headers({ 'content-type': 'application/json' }),
  })
  await settle()
  const [request] = server.requests
  expect(request?.init).toMatchObject({ method: 'POST', body: '{}', credentials: 'include', cache: 'no-store' })
  expect(Object.fromEntries(request?.headers ?? [])).toEqual({
    accept: 'text/event-stream',
    'content-type': 'application/json',
  })
  stream.close()
})

test('headers are made for every attempt', async () => {
  const clock = virtualClock()
  let calls = 0
  const server = scripted(({ number, answer }) => (number < 3 ? answer([CUT]) : answer([HANG])))
  const headers = async () => ({ accept: 'text/event-stream, */*', 'x-call': String(++calls) })
  const stream = connect(url, { fetch: server.fetch, clock, headers, fallback: 'none' })
  await clock.advance(20_000)
  expect(server.requests.map((request) => request.headers.get('x-call'))).toEqual(['1', '2', '3'])
  expect(server.requests[0]?.headers.get('accept')).toBe('text/event-stream, */*')
  stream.close()
})

test('across origins a page sends the cursor by query from the start', async () => {
  for (const [page, byQuery] of [
    ['https://example.com/page', false],
    ['https://other.example/page', true],
  ] as const) {
    vi.stubGlobal('location', new URL(page))
    const server = scripted(({ answer }) => answer([HANG]))
    const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), cursor: 'e.1' })
    vi.unstubAllGlobals()
    await settle()
    expect(server.requests[0]?.headers.has('last-event-id')).toBe(!byQuery)
    expect(server.requests[0]?.url).toBe(byQuery ? `${url}?lastEventId=e.1` : url)
    stream.close()
  }
})

test('a relative url needs a page, or a fetch that knows what it is relative to', async () => {
  expect(() => connect('/events')).toThrow(/`url` to be absolute/)
  const server = scripted(({ answer }) => answer([HANG]))
  const stream = connect('/events?a=b', { fetch: server.fetch, clock: virtualClock(), from: 'earliest' })
  await settle()
  expect(server.requests[0]?.url).toBe('/events?a=b&from=earliest')
  stream.close()
  vi.stubGlobal('location', new URL('https://example.com/page'))
  connect('/events', { clock: virtualClock() }).close()
  vi.unstubAllGlobals()
})

test('the global fetch is called as its own, and looked up for every attempt', async () => {
  const server = scripted(({ answer }) => answer([event('a'), HANG]))
  const stream = connect(url, { clock: virtualClock() })
  vi.stubGlobal('fetch', function (this: unknown, ...input: Parameters<typeof fetch>) {
    if (this !== undefined && this !== globalThis) throw new TypeError('Illegal invocation')
    return server.fetch(...input)
  })
  const got = collect(stream)
  await settle()
  vi.unstubAllGlobals()
  expect(got.texts).toEqual(['a'])
  stream.close()
})

test.each<[string, unknown, RegExp]>([
  ['options', null, /`options` to be an object, got null/],
  ['method', { method: 5 }, /`method`/],
  ['body with GET', { body: 'x' }, /no `body` with the method GET\. Set `method` to 'POST'/],
  ['body that is a stream', { method: 'POST', body: new ReadableStream() }, /`body`.*got a ReadableStream/],
  ['headers', { headers: 'x' }, /`headers` to be an object or a function, got "x"/],
  ['headers that HTTP cannot carry', { headers: { 'a b': 'secret' } }, /`headers` to hold names and values that HTTP/],
  ['credentials', { credentials: 'all' }, /`credentials` to be 'omit' or 'same-origin' or 'include', got "all"/],
  ['cursor', { cursor: 5 }, /`cursor` to be a string or null, got 5/],
  ['from', { from: '' }, /`from`/],
  ['signal', { signal: 'x' }, /`signal` to be an AbortSignal, got "x"/],
  ['fetch', { fetch: 'x' }, /`fetch` to be a function, got "x"/],
  ['isTerminal', { isTerminal: true }, /`isTerminal` to be a function, got true/],
  ['onState', { onState: {} }, /`onState` to be a function, got an object/],
  ['maxEventBytes', { maxEventBytes: 0 }, /`maxEventBytes`.*got 0/],
  ['maxBufferedBytes', { maxBufferedBytes: 1.5 }, /`maxBufferedBytes`.*got 1.5/],
  ['connectTimeoutMs', { connectTimeoutMs: -1 }, /`connectTimeoutMs`.*got -1/],
  ['silenceMs', { silenceMs: Number.NaN }, /`silenceMs`.*got NaN/],
])('a bad %s is a TypeError at the door', (_, options, message) => {
  const attempt = () => connect(url, options as ConnectOptions)
  expect(attempt).toThrow(TypeError)
  expect(attempt).toThrow(message)
})

test.each([
  [5, /`url` to be a string or a URL, got 5/],
  ['nonsense', /`url` to be absolute/],
  ['ftp://example.com/', /`url` to begin with http: or https:, got "ftp:"/],
  ['https://user:secret@example.com/', /`url` to hold no user name/],
])('the url %j is a TypeError at the door', (bad, message) => {
  expect(() => connect(bad as string)).toThrow(message)
})

test('options that are undefined, and a cursor that is null, are left at their defaults', async () => {
  const server = scripted(({ answer }) => answer([HANG]))
  const names = ['method', 'body', 'headers', 'credentials', 'from', 'signal', 'maxEventBytes', 'silenceMs', 'onState']
  const options = Object.fromEntries(names.map((name) => [name, undefined]))
  const stream = connect(new URL(url), { ...options, cursor: null, fetch: server.fetch, clock: virtualClock() })
  await settle()
  expect(server.requests[0]).toMatchObject({ url, cursor: null })
  stream.close()
})
