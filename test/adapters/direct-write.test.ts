import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo, Socket } from 'node:net'
import compression from 'compression'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

const CHUNK = /^[0-9a-f]+\r\n[\s\S]*\r\n$/
let hub: Hub
let direct: string[]

beforeEach(() => {
  hub = createHub({ store: memoryStore() })
  direct = []
  // What Node frames itself it hands to a socket in parts; a whole chunk in one piece is ours.
  const { write } = Socket.prototype
  vi.spyOn(Socket.prototype, 'write').mockImplementation(function (this: Socket, ...given: unknown[]) {
    const [bytes] = given
    if (bytes instanceof Uint8Array) {
      const text = Buffer.from(bytes).toString()
      if (CHUNK.test(text) && text.includes('data:')) direct.push(text)
    }
    return Reflect.apply(write, this, given)
  })
})

afterEach(async () => {
  vi.restoreAllMocks()
  await hub.close()
})

async function body(response: http.IncomingMessage): Promise<string> {
  let text = ''
  for await (const bytes of response) text += bytes
  return text
}

const handler = () => sse(hub, { stream: () => 's' })

test('over HTTP/1.1, frames are written to the socket as whole chunks, and the response ends as it should', async () => {
  await using served = await listen(handler())
  const reader = await read(served.address)
  await reader.until(({ frames }) => frames.length === 1)
  await publishMany(hub, 's', 3)
  await reader.until(({ events }) => events.length === 3)
  expect(direct.length).toBeGreaterThanOrEqual(2)
  await hub.seal('s')
  await reader.end()
  expect(reader.complete).toBe(true)
  expect(reader.names.at(-1)).toBe('stream:end')
})

test('a connection that is kept alive serves stream after stream, and gathers no listeners', async () => {
  await using served = await listen(handler())
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  let listeners = 0
  for (let round = 0; round < 12; round++) {
    const request = http.get({ ...served.address, path: '/?poll=25', agent })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await hub.publish('s', { data: String(round) })
    const text = await body(response)
    expect(text).toContain(`data: ${round}\n`)
    const [socket] = served.sockets
    const now = socket?.listenerCount('drain') ?? 0
    if (round > 0) expect(now).toBe(listeners)
    listeners = now
  }
  expect(served.sockets.size).toBe(1)
  agent.destroy()
  expect(direct.length).toBeGreaterThan(12)
})

test('what is written directly, and through the response by others, stays in the order of the calls', async () => {
  await using served = await listen((req, res) => {
    handler()(req, res)
    const write = () => res.write(': from elsewhere\n\n')
    setImmediate(write)
  })
  const reader = await read(served.address)
  await publishMany(hub, 's', 50)
  await reader.until(({ events }) => events.length === 50)
  expect(reader.events).toEqual(numbers(1, 50))
  expect(reader.comments).toContain('from elsewhere')
})

test.each([
  ['HTTP/1.0', 'GET / HTTP/1.0\r\nhost: x\r\n\r\n'],
  ['HTTP/1.0 that asks for chunks', 'GET / HTTP/1.0\r\nhost: x\r\nte: chunked\r\n\r\n'],
  ['a connection to be closed', 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'],
  ['Expect: 100-continue', 'GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n'],
])('%s: the response is well formed', async (_, request) => {
  await using served = await listen(handler())
  const socket = net.connect((served.address as { port: number }).port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes
  })
  socket.write(request)
  await until(() => text.includes('stream:ready'))
  await publishMany(hub, 's', 2)
  await until(() => text.includes('data: 2\n'))
  const [head = '', body = ''] = text.replace('HTTP/1.1 100 Continue\r\n\r\n', '').split('\r\n\r\n', 2)
  expect(head).toContain('200 OK')
  const isChunked = /transfer-encoding: chunked/i.test(head)
  expect(/^[0-9a-f]+\r\n/.test(body)).toBe(isChunked)
  if (!isChunked) expect(direct).toEqual([])
  socket.destroy()
  await served.idle()
})

test('a request behind another one on its connection is answered after it, and not before', async () => {
  await using served = await listen((req, res) => {
    if (req.url === '/slow') setImmediate(() => setImmediate(() => res.end('first')))
    else handler()(req, res)
  })
  const socket = net.connect((served.address as { port: number }).port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes
  })
  socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await until(() => hub.stats().connections === 1)
  await publishMany(hub, 's', 2)
  await until(() => text.includes('data: 2\n'))
  expect(text.indexOf('first')).toBeLessThan(text.indexOf('stream:ready'))
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
  socket.destroy()
  await served.idle()
})

test('a response that something wraps is written through what wraps it', async () => {
  const compress = compression({ filter: () => true })
  await using served = await listen((req, res) => {
    compress(req as never, res as never, () =>
      sse(hub, { stream: () => 's', headers: { 'cache-control': 'no-cache' } })(req, res),
    )
  })
  const response = await fetch(`http://127.0.0.1:${(served.address as { port: number }).port}`, {
    headers: { 'accept-encoding': 'gzip' },
  })
  expect(response.headers.get('content-encoding')).toBe('gzip')
  const bytes = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  await publishMany(hub, 's', 2)
  while (!text.includes('data: 2\n')) text += decoder.decode((await bytes?.read())?.value)
  expect(direct).toEqual([])
  await bytes?.cancel()
  await served.idle()
})

test('a body whose length was promised is not framed', async () => {
  await using served = await listen((req, res) => {
    res.setHeader('content-length', '100000')
    handler()(req, res)
  })
  const { port } = served.address as AddressInfo
  const socket = net.connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes
  })
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await until(() => text.includes('stream:ready'))
  await publishMany(hub, 's', 1)
  await until(() => text.includes('data: 1\n'))
  expect(text).not.toMatch(/\r\n[0-9a-f]+\r\n/)
  expect(direct).toEqual([])
  socket.destroy()
  await served.idle()
})

test('a response listens for room only once it has had none, and leaves nothing behind on its socket', async () => {
  await using served = await listen(handler(), { unix: true })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const request = http.get({ ...served.address, agent })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  await until(() => hub.stats().connections === 1)
  const [socket] = served.sockets
  const idle = socket?.listenerCount('drain') ?? 0
  await hub.publish('s', { data: 'small' })
  await until(() => direct.some((chunk) => chunk.includes('small')))
  expect(socket?.listenerCount('drain')).toBe(idle)
  for (let n = 0; n < 10; n++) await hub.publish('s', { data: 'x'.repeat(100_000) })
  await until(() => socket?.listenerCount('drain') === idle + 1)
  await hub.seal('s')
  expect(await body(response)).toContain('sealed')
  await until(() => hub.stats().connections === 0)
  expect(socket?.destroyed).toBe(false)
  expect(socket?.listenerCount('drain')).toBe(idle)
  agent.destroy()
})
