import { afterEach, expect, test, vi } from 'vitest'
import { connect } from '../../src/client/connect.js'
import type { ConnectOptions } from '../../src/client/options.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtual-clock.js'
import { CUT, collect, end, event, HANG, later, type Part, ready, scripted, settle } from './scripted.js'

const url = 'http://test/rooms/events?room=1'

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

interface Ack {
  readonly at: number
  readonly url: string
  readonly body: unknown
  readonly headers: Headers
  readonly init: RequestInit
}

/** A server that streams what it is told to, and keeps what is acknowledged. */
function serving(
  clock: VirtualClock,
  parts: (number: number) => Iterable<Part>,
  answerTo: (ack: Ack) => Response | Promise<Response> = () => new Response(null, { status: 204 }),
) {
  const acks: Ack[] = []
  let streams = 0
  const server = scripted(({ url, init, headers, answer }) => {
    if (init.method !== 'POST') return answer(parts(++streams))
    const ack = { at: clock.now(), url, body: JSON.parse(String(init.body)), headers, init }
    acks.push(ack)
    return answerTo(ack)
  })
  const open = (options: ConnectOptions = {}) => connect(url, { fetch: server.fetch, clock, acks: '/acks', ...options })
  return { server, acks, open, said: () => acks.map(({ body }) => (body as { cursor: string }).cursor) }
}

/** Events whose time the test decides. */
function byHand() {
  const parts: ReturnType<typeof later>[] = []
  function* all(): Generator<Part> {
    for (let n = 0; ; n++) yield partAt(n).part
  }
  const partAt = (n: number) => (parts[n] ??= later())
  let next = 0
  return { all, come: (part: string) => partAt(next++).come(part) }
}

test('the place where a connection starts is said once it is open, and then what was finished', async () => {
  const clock = virtualClock()
  const events = byHand()
  const { acks, open } = serving(clock, function* () {
    yield ready({ connection: 'c1' }, 'e.0')
    yield* events.all()
  })
  const stream = open()
  const items = stream[Symbol.asyncIterator]()
  const first = items.next()
  await clock.advance(1_000)
  events.come(event('a', 'e.1'))
  await first
  await clock.advance(10_000)
  // It was handed over, and nobody has said that it is finished.
  expect(acks.map(({ body }) => body)).toEqual([{ connection: 'c1', cursor: 'e.0' }])
  const second = items.next()
  await clock.advance(1_000)
  expect(acks.map(({ body }) => body)).toEqual([
    { connection: 'c1', cursor: 'e.0' },
    { connection: 'c1', cursor: 'e.1' },
  ])
  await clock.advance(60_000)
  expect(acks).toHaveLength(2)
  stream.close()
  await second
})

test('a POST of JSON with the headers of the stream, made anew, at an address relative to it', async () => {
  const clock = virtualClock()
  let calls = 0
  for (const [acks, expected] of [
    ['acks', 'http://test/rooms/acks'],
    ['/acks?x=1', 'http://test/acks?x=1'],
    [new URL('https://other.example/acks'), 'https://other.example/acks'],
  ] as const) {
    const at = serving(clock, () => [ready({}, 'e.0'), HANG])
    const headers = () => ({ authorization: `token ${++calls}` })
    const stream = at.open({ acks, headers, credentials: 'include' })
    await clock.advance(1_000)
    const [{ url, init, headers: sent } = {} as Ack] = at.acks
    expect([url, init.method, init.credentials, init.keepalive]).toEqual([expected, 'POST', 'include', undefined])
    expect(Object.fromEntries(sent)).toEqual({ authorization: `token ${calls}`, 'content-type': 'application/json' })
    stream.close()
  }
  expect(calls).toBe(6)
})

test.each([0, 0.5, 0.999])('however fast the consumer is, a second lies between two (%s)', async (random) => {
  vi.spyOn(Math, 'random').mockReturnValue(random)
  const clock = virtualClock()
  const { acks, open } = serving(clock, function* () {
    yield ready({}, 'e.0')
    for (let n = 1; n <= 300; n++) {
      yield new Promise((resolve) => clock.setTimeout(() => resolve(event(String(n), `e.${n}`)), 50))
    }
    yield HANG
  })
  const stream = open()
  collect(stream)
  await clock.advance(20_000)
  const waits = acks.slice(1).map(({ at }, index) => at - (acks[index]?.at ?? 0))
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(1_000)
  expect(acks.length).toBeGreaterThan(13)
  expect(acks.at(-1)?.body).toEqual({ connection: 'c1', cursor: 'e.300' })
  stream.close()
  expect(clock.pending).toBe(0)
})

test('a crowd that is handed the same event does not answer as one', async () => {
  const clock = virtualClock()
  const events = byHand()
  const { acks, open } = serving(clock, function* () {
    yield ready({}, 'e.0')
    yield* events.all()
  })
  const streams = Array.from({ length: 400 }, () => open())
  for (const stream of streams) collect(stream)
  await clock.advance(5_000)
  acks.length = 0
  events.come(event('a', 'e.1'))
  await clock.advance(1_100)
  expect(acks).toHaveLength(400)
  const counts = new Map<number, number>()
  for (const { at } of acks) counts.set(Math.floor(at / 100), (counts.get(Math.floor(at / 100)) ?? 0) + 1)
  // 40 are to be expected in each tenth of a second; 100 of 400 are ten standard deviations off.
  expect(Math.max(...counts.values())).toBeLessThan(100)
  for (const stream of streams) stream.close()
})

test.each([
  ['a 500', () => new Response('', { status: 500 })],
  ['a 401', () => new Response('', { status: 401 })],
  ['a 404', () => new Response('', { status: 404 })],
  ['a network fault', () => Promise.reject(new TypeError('fetch failed'))],
])('%s is neither tried again nor felt; the next one says it all', async (_, answerTo) => {
  const clock = virtualClock()
  const events = byHand()
  const { said, open, server } = serving(
    clock,
    function* () {
      yield ready({}, 'e.0')
      yield* events.all()
    },
    answerTo,
  )
  const stream = open({ headers: () => ({}) })
  collect(stream)
  await clock.advance(20_000)
  expect(said()).toEqual(['e.0'])
  events.come(event('a', 'e.1'))
  events.come(event('b', 'e.2'))
  await clock.advance(20_000)
  expect(said()).toEqual(['e.0', 'e.2'])
  expect([stream.state, server.requests.length]).toEqual(['open', 3])
  stream.close()
})

test.each([
  ['is not answered', { fetchHangs: true }],
  ['waits for headers that are never made', { fetchHangs: false }],
])('there is one at a time: one that %s is given up after the connect deadline', async (_, { fetchHangs }) => {
  const clock = virtualClock()
  const events = byHand()
  let calls = 0
  const { said, acks, open } = serving(
    clock,
    function* () {
      yield ready({}, 'e.0')
      yield* events.all()
    },
    () => (fetchHangs && acks.length === 1 ? new Promise(() => {}) : new Response(null, { status: 204 })),
  )
  const headers = () => (++calls === 2 && !fetchHangs ? new Promise<HeadersInit>(() => {}) : {})
  const stream = open({ headers })
  collect(stream)
  await clock.advance(1_000)
  events.come(event('a', 'e.1'))
  events.come(event('b', 'e.2'))
  await clock.advance(8_000)
  expect(said()).toEqual(fetchHangs ? ['e.0'] : [])
  await clock.advance(3_000)
  expect(said()).toEqual(fetchHangs ? ['e.0', 'e.2'] : ['e.2'])
  stream.close()
})

test('another connection is told anew, and a second after the last', async () => {
  const clock = virtualClock()
  const { acks, open } = serving(clock, function* (number) {
    if (number === 1) {
      yield ready({ connection: 'c1' }, 'e.0')
      yield event('a', 'e.1')
      yield CUT
    }
    yield ready({ connection: 'c2', resumed: 'ok' }, 'e.1')
    yield HANG
  })
  const stream = open()
  collect(stream)
  await clock.advance(10_000)
  expect(acks.at(-1)?.body).toEqual({ connection: 'c2', cursor: 'e.1' })
  for (const [index, { at }] of acks.slice(1).entries())
    expect(at - (acks[index]?.at ?? 0)).toBeGreaterThanOrEqual(1_000)
  stream.close()
})

test('a server that gives its connections no name is told nothing', async () => {
  const clock = virtualClock()
  const { acks, open } = serving(clock, () => [event('a', '1'), event('b', '2'), HANG])
  const stream = open()
  const got = collect(stream)
  await clock.advance(30_000)
  expect([got.texts, acks]).toEqual([['a', 'b'], []])
  stream.close()
})

function page(): EventTarget & { listeners: number } {
  const target = Object.assign(new EventTarget(), { listeners: 0 })
  vi.stubGlobal('addEventListener', (name: string, listener: () => void) => {
    if (name === 'pagehide') target.listeners++
    target.addEventListener(name, listener)
  })
  vi.stubGlobal('removeEventListener', (name: string, listener: () => void) => {
    if (name === 'pagehide') target.listeners--
    target.removeEventListener(name, listener)
  })
  return target
}

test('when the page goes, the last one is sent at once, and outlives the page', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const target = page()
  const clock = virtualClock()
  const { acks, said, open } = serving(clock, () => [ready({}, 'e.0'), event('a', 'e.1'), HANG])
  const stream = open()
  collect(stream)
  await settle()
  expect(said()).toEqual([])
  target.dispatchEvent(new Event('pagehide'))
  await settle()
  expect(said()).toEqual(['e.1'])
  expect(acks[0]?.init.keepalive).toBe(true)
  target.dispatchEvent(new Event('pagehide'))
  await clock.advance(5_000)
  expect(said()).toEqual(['e.1'])
  stream.close()
  target.dispatchEvent(new Event('pagehide'))
  await settle()
  expect([said(), clock.pending, target.listeners]).toEqual([['e.1'], 0, 0])
})

test('what is under way when the page goes is sent anew, for it would go with the page', async () => {
  const target = page()
  const clock = virtualClock()
  const aborted: boolean[] = []
  const { acks, said, open } = serving(
    clock,
    () => [ready({}, 'e.0'), HANG],
    ({ init }) => {
      init.signal?.addEventListener('abort', () => aborted.push(true))
      return new Promise(() => {})
    },
  )
  const stream = open()
  collect(stream)
  await clock.advance(1_000)
  target.dispatchEvent(new Event('pagehide'))
  await settle()
  expect([said(), acks.map(({ init }) => init.keepalive), aborted]).toEqual([['e.0', 'e.0'], [undefined, true], [true]])
  stream.close()
  await settle()
  expect(clock.pending).toBe(0)
})

test.each(['close', 'abort', 'leave the loop', 'sealed'])(
  'after the end (%s) nothing is said, and nothing is left',
  async (how) => {
    const clock = virtualClock()
    const { acks, open, server } = serving(clock, function* () {
      yield ready({}, 'e.0')
      yield event('a', 'e.1')
      yield how === 'sealed' ? end('sealed') : HANG
    })
    const aborter = new AbortController()
    const stream = open({ signal: aborter.signal })
    const items = stream[Symbol.asyncIterator]()
    await items.next()
    const last = items.next()
    last.catch(() => {})
    if (how === 'close') stream.close()
    if (how === 'abort') aborter.abort()
    if (how === 'leave the loop') await items.return?.()
    await clock.advance(60_000)
    expect(acks).toEqual([])
    expect([stream.state, clock.pending, server.open]).toEqual(['closed', 0, 0])
  },
)

test('one that is under way at the end is cut', async () => {
  const clock = virtualClock()
  const signals: (AbortSignal | null | undefined)[] = []
  const { open } = serving(
    clock,
    () => [ready({}, 'e.0'), HANG],
    ({ init }) => {
      signals.push(init.signal)
      return new Promise(() => {})
    },
  )
  const stream = open()
  await clock.advance(1_000)
  stream.close()
  await settle()
  expect([signals.map((signal) => signal?.aborted), clock.pending]).toEqual([[true], 0])
})

test('one that waits for its headers at the end is not sent', async () => {
  const clock = virtualClock()
  const { acks, open } = serving(clock, () => [ready({}, 'e.0'), HANG])
  let calls = 0
  let made = (_: HeadersInit) => {}
  const headers = () => (++calls === 1 ? {} : new Promise<HeadersInit>((resolve) => (made = resolve)))
  const stream = open({ headers })
  await clock.advance(1_000)
  expect(calls).toBe(2)
  stream.close()
  made({})
  await settle()
  expect([acks, clock.pending]).toEqual([[], 0])
})

test('without `acks` nothing is sent, and there is no timer for it', async () => {
  const clock = virtualClock()
  const { acks, open } = serving(clock, () => [ready({}, 'e.0'), event('a', 'e.1'), HANG])
  const stream = open({ acks: undefined })
  collect(stream)
  await clock.advance(10)
  // The watchdog.
  expect(clock.pending).toBe(1)
  await clock.advance(10_000)
  expect(acks).toEqual([])
  stream.close()
})

test('an address that cannot be one is refused', () => {
  expect(() => connect('http://test/', { acks: 7 as never })).toThrow(/Expected `acks` to be a string or a URL, got 7/)
  expect(() => connect('http://test/', { acks: 'http://a:b@test/' })).toThrow(/Expected `acks` to hold no user name/)
  expect(() => connect('http://test/', { acks: 'ftp://test/' })).toThrow(
    /Expected `acks` to begin with http: or https:/,
  )
})
