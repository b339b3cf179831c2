import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { connect, type EventStream } from '../../src/client/connect.js'
import type { ConnectOptions } from '../../src/client/options.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { CUT, end, event, HANG, ready, type ScriptedRequest, scripted, settle } from './scripted.js'

const url = 'https://example.com/events'

interface Situation {
  state: EventStream['state']
  options?: ConnectOptions
  handle?: (request: ScriptedRequest) => Response | Promise<Response>
  at?: number
}

const forever = () => new Promise<never>(() => {})

const situations: Record<string, Situation> = {
  'before the first attempt': { state: 'connecting', at: -1 },
  'while the headers function hangs': { state: 'connecting', options: { headers: forever } },
  'while fetch hangs': { state: 'connecting', handle: forever },
  'while fetch ignores its signal': { state: 'connecting', options: { fetch: forever } },
  'while the body hangs': { state: 'connecting', handle: ({ answer }) => answer([HANG]) },
  'while open': { state: 'open', handle: ({ answer }) => answer([ready(), HANG]) },
  'with items in the buffer': {
    state: 'open',
    handle: ({ answer }) => answer([ready(), event('a', '1'), event('b', '2'), HANG]),
  },
  'with a full buffer': {
    state: 'open',
    options: { maxBufferedBytes: 1 },
    handle: ({ answer }) => answer([ready(), event('a', '1'), event('b', '2'), HANG]),
  },
  'while waiting': { state: 'waiting', handle: () => new Response('', { status: 503 }) },
  'in a later attempt': {
    state: 'open',
    at: 2_000,
    handle: ({ number, answer }) => answer(number === 1 ? [event('a', '1'), CUT] : [event('b', '2'), HANG]),
  },
  'after its end': { state: 'closed', handle: ({ answer }) => answer([ready(), event('a', '1'), end('sealed')]) },
  'after its failure': {
    state: 'closed',
    handle: ({ number, answer }) => answer(number === 1 ? [event('a', '1'), 'x'.repeat(100)] : []),
    options: { maxEventBytes: 50 },
  },
}

const ways: Record<string, (stream: EventStream, abort: AbortController) => unknown> = {
  'close()': (stream) => stream.close(),
  'its signal': (_, abort) => abort.abort(),
  'return()': (stream) => stream[Symbol.asyncIterator]().return?.(),
  'await using': (stream) => stream[Symbol.asyncDispose](),
}

const cases = Object.keys(situations).flatMap((situation) => Object.keys(ways).map((way) => [situation, way] as const))

test.each(cases)('%s, %s is final and leaves nothing', async (name, way) => {
  const { state, options = {}, handle = forever, at = 0 } = situations[name] ?? { state: 'closed' }
  const clock = virtualClock()
  const server = scripted(handle)
  const abort = new AbortController()
  const stream = connect(url, { fetch: server.fetch, clock, signal: abort.signal, ...options })
  if (at >= 0) await settle()
  if (at > 0) await clock.advance(at)
  expect(stream.state).toBe(state)

  ways[way]?.(stream, abort)
  expect(stream.state).toBe('closed')
  expect(clock.pending).toBe(0)
  const requests = server.requests.length
  expect(await stream[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined })
  stream.close()
  await clock.advance(600_000)
  expect([server.requests.length, server.open, clock.pending]).toEqual([requests, 0, 0])
  expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  expect(await stream[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined })
})

test.each(cases)('%s, %s ends a pending next()', async (name, way) => {
  const { options = {}, handle = forever } = situations[name] ?? {}
  const abort = new AbortController()
  const server = scripted(handle)
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), signal: abort.signal, ...options })
  const iterator = stream[Symbol.asyncIterator]()
  const pending = iterator.next()
  ways[way]?.(stream, abort)
  expect(await pending).toEqual({ done: true, value: undefined })
  await expect(stream.ready).rejects.toMatchObject({ name: 'SseError', code: 'CLOSED' })
})

test('a signal that is aborted already makes no request', async () => {
  const server = scripted(forever)
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), signal: AbortSignal.abort() })
  expect(stream.state).toBe('closed')
  await settle()
  expect(server.requests).toEqual([])
  await expect(stream.ready).rejects.toMatchObject({ code: 'CLOSED' })
})

test('the signal of an ended stream still drops what is buffered', async () => {
  const abort = new AbortController()
  const server = scripted(({ answer }) => answer([ready(), event('a', '1'), end('sealed')]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), signal: abort.signal })
  await settle()
  expect(stream.state).toBe('closed')
  expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  abort.abort()
  expect((await stream[Symbol.asyncIterator]().next()).done).toBe(true)
})

test('a stream can be closed from its own listeners, in every state, and says so once', async () => {
  for (const when of ['connecting', 'open', 'waiting', 'closed']) {
    const clock = virtualClock()
    const heard: string[] = []
    const server = scripted(({ answer }) => answer([ready(), event('a', '1'), CUT]))
    const stream = connect(url, { fetch: server.fetch, clock })
    stream.onState(({ state }) => {
      if (state === when) stream.close()
    })
    stream.onState(({ state }) => heard.push(state))
    await settle()
    stream.close()
    await clock.advance(60_000)
    expect(heard.filter((state) => state === 'closed')).toHaveLength(1)
    expect(heard.at(-1)).toBe('closed')
    expect([clock.pending, server.open]).toEqual([0, 0])
    expect(server.requests).toHaveLength(when === 'connecting' ? 0 : 1)
  }
})

test('a stream can be closed from its headers function, and from what its abort sets going', async () => {
  const clock = virtualClock()
  const server = scripted(forever)
  const closing = () => {
    stream.close()
    return {}
  }
  const stream = connect(url, { fetch: server.fetch, clock, headers: closing })
  await settle()
  expect([server.requests.length, clock.pending]).toEqual([0, 0])

  const heard: string[] = []
  const other = connect(url, {
    clock,
    onState: ({ state }) => heard.push(state),
    fetch: (_, init) => {
      init?.signal?.addEventListener('abort', () => {
        heard.push(`aborted while ${other.state}`)
        other.close()
      })
      return forever()
    },
  })
  await settle()
  other.close()
  expect(heard).toEqual(['connecting', 'aborted while closed', 'closed'])
})

test('a response that comes after the end is cancelled', async () => {
  let respond: (response: Response) => void = () => {}
  let cancelled = false
  const stream = connect(url, {
    clock: virtualClock(),
    fetch: () =>
      new Promise((resolve) => {
        respond = resolve
      }),
  })
  await settle()
  stream.close()
  const body = new ReadableStream({
    cancel() {
      cancelled = true
    },
  })
  respond(new Response(body))
  await settle()
  expect(cancelled).toBe(true)
})

test('headers that come after the end make no request', async () => {
  let give: (headers: HeadersInit) => void = () => {}
  const server = scripted(forever)
  const headers = () =>
    new Promise<HeadersInit>((resolve) => {
      give = resolve
    })
  const stream = connect(url, { clock: virtualClock(), fetch: server.fetch, headers })
  await settle()
  stream.close()
  give({})
  await settle()
  expect(server.requests).toEqual([])
})

test('no end of any kind is an unhandled rejection', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  const handlers: ((request: ScriptedRequest) => Response | Promise<Response>)[] = [
    () => Promise.reject(new Error('no network')),
    () => new Response('', { status: 404 }),
    () => new Response('', { status: 503 }),
    ({ answer }) => answer([event('a', '1'), CUT]),
    ({ answer }) => answer([event('x'.repeat(100))]),
    ({ answer }) => answer([ready(), HANG]),
    forever,
    ({ number }) => {
      const body = new ReadableStream({ cancel: () => Promise.reject(new Error('cannot cancel')) })
      return new Response(body, { status: number % 2 ? 500 : 200, headers: { 'content-type': 'text/event-stream' } })
    },
  ]
  for (const handle of handlers) {
    const clock = virtualClock()
    const stream = connect(url, { fetch: scripted(handle).fetch, clock, maxEventBytes: 90 })
    await clock.advance(60_000)
    stream.close()
    await clock.advance(60_000)
    expect(clock.pending).toBe(0)
  }
  await settle()
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

test.each(['close', 'abort'])('a stream that its own isTerminal ends by %s stays closed', async (how) => {
  const clock = virtualClock()
  const controller = new AbortController()
  const server = scripted(() => new Response('', { status: 503 }))
  const stream: EventStream = connect(url, {
    fetch: server.fetch,
    clock,
    signal: controller.signal,
    isTerminal: () => {
      if (how === 'close') stream.close()
      else controller.abort()
      return undefined
    },
  })
  await clock.advance(600_000)
  expect([stream.state, server.requests.length, clock.pending]).toEqual(['closed', 1, 0])
})
