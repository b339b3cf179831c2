import { once } from 'node:events'
import http from 'node:http'
import { expect, test } from 'vitest'
import { type NodeRequest, sse } from '../../src/adapters/node.js'
import { type StreamOptions, sse as webSse } from '../../src/adapters/web.js'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { type RawReader, type ReadOptions, read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { FarStore } from '../support/stores.js'
import { turns, until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

/** One request through each adapter, seen alike. */
interface Answered {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

type Options = Omit<StreamOptions<unknown>, 'stream'> & { stream(request: unknown): string | Promise<string> }

const viaNode = async (hub: Hub, options: Options, method = 'GET', path = '/'): Promise<Answered> => {
  await using served = await listen(sse(hub, options))
  const reader = await read(served.address, path, { method })
  if (reader.isStream && method !== 'HEAD') reader.destroy()
  await reader.end()
  return { status: reader.status, headers: reader.response.headers as Record<string, string>, body: reader.body }
}

const viaWeb = async (hub: Hub, options: Options, method = 'GET', path = '/'): Promise<Answered> => {
  const response = await webSse(hub, options)(new Request(`http://x${path}`, { method }))
  const headers = Object.fromEntries(response.headers)
  const isStream = headers['content-type'] === 'text/event-stream' && response.body !== null
  if (isStream) await response.body?.cancel()
  return { status: response.status, headers, body: isStream ? '' : await response.text() }
}

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly hub?: Partial<HubOptions>
}

/** Asks once with a store that is spied on, and checks that nothing is left. */
async function ask(via: typeof viaNode, options: Options, { method, path, hub: given }: Asked = {}) {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  const errors: unknown[] = []
  await using hub = createHub({ store, clock, ...given })
  const answered = await via(hub, { onError: (error) => errors.push(error), ...options }, method, path)
  await until(() => hub.stats().connections + hub.stats().streams === 0)
  return { ...answered, errors, store }
}

const adapters = [
  ['node', viaNode],
  ['web', viaWeb],
] as const

const failing = (error: unknown) => () => {
  throw error
}

for (const [name, via] of adapters) {
  test(`${name}: HEAD answers the head of the stream and joins nothing`, async () => {
    const asked: unknown[] = []
    const stream = (request: unknown) => {
      asked.push(request)
      return 's'
    }
    const { status, headers, body, store } = await ask(via, { stream, headers: { 'x-more': '1' } }, { method: 'HEAD' })
    expect(status).toBe(200)
    expect(headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no', 'x-more': '1' })
    expect(body).toBe('')
    expect(asked).toHaveLength(1)
    expect(store.calls).toEqual({ append: 0, open: 0, read: 0, watch: 0, seal: 0 })
  })

  test(`${name}: HEAD is refused like GET`, async () => {
    const stream = failing(Object.assign(new Error('no'), { status: 403 }))
    expect((await ask(via, { stream }, { method: 'HEAD' })).status).toBe(403)
  })

  test(`${name}: an error with a status is that status with its headers, and no report`, async () => {
    const error = Object.assign(new Error('secret'), { status: 403, headers: { 'x-why': 'because', 'x-no': 5 } })
    const { status, headers, body, errors, store } = await ask(via, { stream: failing(error) })
    expect(status).toBe(403)
    expect(headers).toMatchObject({ 'x-why': 'because' })
    expect(headers).not.toHaveProperty('x-no')
    expect(headers['content-type']).not.toBe('text/event-stream')
    expect(body).toBe('')
    expect(errors).toEqual([])
    expect(store.calls.watch).toBe(0)
  })

  test(`${name}: an error with a statusCode is that status, thrown or rejected`, async () => {
    const error = Object.assign(new Error('no'), { statusCode: 404 })
    expect((await ask(via, { stream: failing(error) })).status).toBe(404)
    expect((await ask(via, { stream: () => Promise.reject(error) })).status).toBe(404)
  })

  test(`${name}: a Response that is thrown is sent as it is`, async () => {
    const headers = new Headers({ location: '/login' })
    headers.append('set-cookie', 'a=1')
    const response = new Response('go there', { status: 302, headers })
    const { status, headers: sent, body } = await ask(via, { stream: failing(response) })
    expect(status).toBe(302)
    expect(sent.location).toBe('/login')
    expect(String(sent['set-cookie'])).toBe('a=1')
    expect(body).toBe('go there')
  })

  test.each([new Error('secret'), 'a string', undefined, { status: 200 }, { status: 999 }, { status: '403' }])(
    `${name}: %o is an empty 500, and reported`,
    async (error) => {
      const { status, body, errors } = await ask(via, { stream: failing(error) })
      expect(status).toBe(500)
      expect(body).toBe('')
      expect(errors).toEqual([error])
    },
  )

  test(`${name}: an error whose headers no head can carry is its status all the same`, async () => {
    const headers = { 'bad name': 'x', 'x-bad': 'a\nb', 'x-\u2028': '1', 'x-good': '1', 'x-worse': '\x01' }
    const error = Object.assign(new Error('no'), { status: 403, headers })
    const { status, headers: sent } = await ask(via, { stream: failing(error) })
    expect(status).toBe(403)
    expect(sent['x-good']).toBe('1')
  })

  test(`${name}: a stream name that is empty or no string is a 500, and reported`, async () => {
    for (const stream of ['', 5 as unknown as string]) {
      const { status, errors } = await ask(via, { stream: () => stream })
      expect(status).toBe(500)
      expect(errors[0]).toBeInstanceOf(TypeError)
    }
  })

  test(`${name}: fields that no head can carry are a TypeError at creation`, async () => {
    await using hub = createHub({ store: memoryStore() })
    const make = (name === 'node' ? sse : webSse) as typeof webSse
    for (const headers of [{ 'x-bad': 'a\nb' }, { 'bad name': 'x' }, { 'x-number': 5 as unknown as string }]) {
      expect(() => make(hub, { stream: () => 's', headers })).toThrow(TypeError)
      expect(() => make(hub, { stream: () => 's', headers })).toThrow('`headers`')
      expect(() => make(async function* () {}, { headers })).toThrow('`headers`')
    }
  })

  test.each(['sideways', 'last:', 'last:-1', 'last:1.5', 'LAST:5', ''])(`${name}: ?from=%s is a 400`, async (from) => {
    const { status, body } = await ask(via, { stream: () => 's' }, { path: `/?from=${from}` })
    expect(status).toBe(400)
    expect(body).toContain('from')
  })

  test(`${name}: with allowFrom false the query \`from\` is not even looked at`, async () => {
    const { status } = await ask(via, { stream: () => 's', allowFrom: false }, { path: '/?from=sideways' })
    expect(status).toBe(200)
  })

  test(`${name}: a store that fails to be watched or opened is a 503 with Retry-After`, async () => {
    for (const broken of ['watch', 'open'] as const) {
      const clock = virtualClock()
      const store = new FarStore(memoryStore(), clock)
      store.fails = (verb) => verb === broken
      const { status, headers, body } = await ask(via, { stream: () => 's' }, { hub: { store } })
      expect(status).toBe(503)
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
      expect(body).toBe('STORE_UNAVAILABLE')
      expect(store.watching).toBe(0)
    }
  })

  test(`${name}: one stream too many is a 503 with Retry-After`, async () => {
    await using hub = createHub({ store: memoryStore(), maxStreams: 1 })
    const reader = await hub.subscribe('taken')
    const { status, headers, body } = await via(hub, { stream: () => 's' })
    expect(status).toBe(503)
    expect(headers).toHaveProperty('retry-after')
    expect(body).toBe('OVERLOADED')
    reader.close()
  })

  test(`${name}: a closed hub is a 503 with Retry-After`, async () => {
    const hub = createHub({ store: memoryStore() })
    await hub.close()
    const { status, headers, body } = await via(hub, { stream: () => 's' })
    expect(status).toBe(503)
    expect(headers).toHaveProperty('retry-after')
    expect(body).toBe('CLOSED')
  })

  test.each(['watch', 'open'] as const)(
    `${name}: a join that hangs in %s is a 503 after joinTimeoutMs, and nothing stays watched`,
    async (verb) => {
      const clock = virtualClock()
      const store = new FarStore(memoryStore(), clock)
      store.stuck.add(verb)
      await using hub = createHub({ store, clock, joinTimeoutMs: 3_000 })
      const asked = via(hub, { stream: () => 's' })
      await until(() => store.calls[verb] > 0)
      await clock.advance(2_999)
      expect(hub.stats().streams).toBe(1)
      await clock.advance(1)
      const { status, headers, body } = await asked
      expect(status).toBe(503)
      expect(headers).toHaveProperty('retry-after')
      expect(body).toBe('JOIN_TIMEOUT')
      expect(hub.stats().streams).toBe(0)
      expect(store.watching).toBe(0)
      expect(clock.pending).toBe(0)
    },
  )
}

test('a watch that is confirmed too late is ended at once', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.delayMs = 20_000
  await using hub = createHub({ store, clock, joinTimeoutMs: 3_000 })
  const asked = viaWeb(hub, { stream: () => 's' })
  await clock.advance(3_000)
  expect((await asked).status).toBe(503)
  await clock.advance(20_000)
  expect(store.watching).toBe(0)
  expect(store.calls.open).toBe(0)
  expect(clock.pending).toBe(0)
})

test('node: a client that leaves during the join leaves nothing', async () => {
  for (const verb of ['watch', 'open'] as const) {
    const clock = virtualClock()
    const store = new FarStore(memoryStore(), clock)
    store.delayMs = 1_000
    store.stuck.add(verb)
    const opened: unknown[] = []
    const errors: unknown[] = []
    await using hub = createHub({ store, clock })
    const onError = (error: unknown) => errors.push(error)
    await using served = await listen(sse(hub, { stream: () => 's', onOpen: (it) => opened.push(it), onError }))
    const request = http.get({ ...served.address, host: '127.0.0.1', agent: false })
    request.on('error', () => {})
    while (store.calls[verb] === 0) await clock.advance(100)
    expect(hub.stats().streams).toBe(1)
    request.destroy()
    await served.idle()
    await turns()
    expect(hub.stats()).toMatchObject({ streams: 0, connections: 0, opened: 0 })
    expect(store.watching).toBe(0)
    expect(clock.pending).toBe(0)
    expect(served.responses[0]?.listenerCount('close')).toBeLessThanOrEqual(1)
    expect([...opened, ...errors]).toEqual([])
  }
})

test('node: a client that leaves while `stream` is asked leaves nothing, even when the store is away', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.fails = () => true
  await using hub = createHub({ store, clock })
  let answer = (_: string) => {}
  const name = new Promise<string>((resolve) => {
    answer = resolve
  })
  await using served = await listen(sse(hub, { stream: () => name }))
  const request = http.get({ ...served.address, host: '127.0.0.1', agent: false })
  request.on('error', () => {})
  await until(() => served.responses.length > 0)
  const closed = once(served.responses[0] ?? request, 'close')
  request.destroy()
  await closed
  answer('s')
  await turns(5)
  expect(hub.stats()).toMatchObject({ streams: 0, connections: 0, opened: 0 })
})

test('node: a response whose head was sent by someone else is cut, reported, and leaves nothing', async () => {
  const errors: unknown[] = []
  await using hub = createHub({ store: memoryStore() })
  const handler = sse(hub, { stream: () => 's', onError: (error) => errors.push(error) })
  await using served = await listen((req, res) => {
    res.writeHead(200).flushHeaders()
    handler(req, res)
  })
  const reader = await read(served.address)
  await reader.end()
  expect(reader.complete).toBe(false)
  expect(errors).toHaveLength(1)
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0, opened: 0 })
})

test('web: a client that leaves during the join leaves nothing, and is no error', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.delayMs = 1_000
  const errors: unknown[] = []
  await using hub = createHub({ store, clock })
  const leaving = new AbortController()
  const handler = webSse(hub, { stream: () => 's', onError: (error) => errors.push(error) })
  const answered = handler(new Request('http://x/', { signal: leaving.signal }))
  await clock.advance(100)
  leaving.abort()
  await answered
  await clock.advance(5_000)
  expect(hub.stats()).toMatchObject({ streams: 0, connections: 0, opened: 0 })
  expect(store.watching).toBe(0)
  expect(clock.pending).toBe(0)
  expect(errors).toEqual([])
})

test.each([
  ['/?from=earliest', {}, 1],
  ['/?from=last:2', {}, 4],
  ['/?from=last:99', {}, 1],
  ['/?from=last:0', {}, 6],
  ['/?from=now', { from: 'earliest' }, 6],
  ['/', { from: 'last:3' }, 3],
  ['/?from=earliest', { allowFrom: false }, 6],
] as const)('%s with %j begins at event %i', async (path, options, next) => {
  await using hub = createHub({ store: memoryStore() })
  await publishMany(hub, 's', 5)
  await using served = await listen(sse(hub, { stream: (_: NodeRequest) => 's', ...options }))
  const reader: RawReader = await read(served.address, path, {} satisfies ReadOptions)
  await hub.publish('s', { data: '6' })
  await reader.until(({ events }) => events.at(-1) === '6')
  expect(reader.events).toEqual(numbers(next, 6))
  expect(reader.json('stream:ready').resumed).toBe('new')
})
