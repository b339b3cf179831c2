import net from 'node:net'
import { describe, expect, test } from 'vitest'
import { receive as inNode } from '../../src/adapters/node.js'
import { receive as inWeb } from '../../src/adapters/web.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { listen } from '../support/served.js'
import { until } from '../support/turns.js'
import { type Handler, type Options, places } from './receiving.js'

/** A handler whose runs the test ends by hand. */
function byHand() {
  const runs: { signal: AbortSignal; done(answer: object): void }[] = []
  const handler: Handler = (_, { signal }) => new Promise((done) => runs.push({ signal, done }))
  return { runs, handler }
}

const never: Handler = async () => {
  throw new Error('This message was not to be handled.')
}

describe.each(places)('$name', ({ name, reads, mount }) => {
  test('the first time is handled, a repetition is answered alike, another body is a 422', async () => {
    const messages: unknown[] = []
    await using at = await mount(async (message) => ({ n: messages.push(message) }))
    const first = await at.post('k', '{"text":"hä"}')
    expect(first).toMatchObject({ status: 200, body: '{"n":1}' })
    expect(first.headers['content-type']).toBe('application/json')
    expect(first.headers).not.toHaveProperty('idempotency-replayed')
    const second = await at.post('k', '{"text":"hä"}')
    expect(second).toMatchObject({ status: 200, body: '{"n":1}', headers: { 'idempotency-replayed': 'true' } })
    expect((await at.post('k', '{"text":"ho"}')).status).toBe(422)
    expect(messages).toEqual([{ text: 'hä' }])
    expect(at.errors).toEqual([])
  })

  test('text is read as text, and no answer is a 204', async () => {
    const messages: unknown[] = []
    await using at = await mount(async (message) => void messages.push(message))
    expect(await at.post('k', '{"a":1}', { type: 'text/plain' })).toMatchObject({ status: 204, body: '' })
    const again = await at.post('k', '{"a":1}', { type: 'text/plain' })
    expect(again).toMatchObject({ status: 204, body: '', headers: { 'idempotency-replayed': 'true' } })
    expect(messages).toEqual(['{"a":1}'])
  })

  test('a key in flight is a 409 with Retry-After', async () => {
    const { runs, handler } = byHand()
    await using at = await mount(handler)
    const first = at.post('k', '[1]')
    await until(() => runs.length === 1)
    const rest = await Promise.all(Array.from({ length: 9 }, () => at.post('k', '[1]')))
    for (const { status, headers } of rest) expect([status, headers['retry-after']]).toEqual([409, '1'])
    runs[0]?.done({ id: 1 })
    expect(await first).toMatchObject({ status: 200, body: '{"id":1}' })
    expect(runs).toHaveLength(1)
  })

  test('no key is a 400, a malformed body a 400, a type that cannot be read a 415', async () => {
    await using at = await mount(never)
    expect((await at.post(undefined, '{}')).status).toBe(400)
    expect((await at.post('k', '{"a":')).status).toBe(400)
    expect((await at.post('k', 'a=1', { type: 'application/x-www-form-urlencoded' })).status).toBe(415)
  })

  test('GET is a 405 that allows POST', async () => {
    await using at = await mount(never)
    const answer = await at.post('k', '', { method: 'GET', type: '' })
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'POST' } })
  })

  test('a declared body over the bound is a 413', async () => {
    await using at = await mount(never, { maxBodyBytes: 100 })
    const body = JSON.stringify(['x'.repeat(198)])
    expect((await at.post('k', body, { headers: { 'content-length': '202' } })).status).toBe(413)
  })

  test('a body that somebody has parsed is bounded too', async () => {
    await using at = await mount(never, { maxBodyBytes: 100 })
    expect((await at.post('k', JSON.stringify(['x'.repeat(200)]))).status).toBe(413)
  })

  test('what the handler throws is the answer, and the key is free', async () => {
    const thrown: unknown[] = [
      new Response('not you', { status: 403, headers: { 'x-why': 'because' } }),
      Object.assign(new Error('later'), { status: 503, headers: { 'retry-after': '7' } }),
      new Error('boom'),
    ]
    let runs = 0
    await using at = await mount(async () => {
      if (runs < thrown.length) throw thrown[runs++]
      return { runs }
    })
    expect(await at.post('k', '[1]')).toMatchObject({ status: 403, body: 'not you', headers: { 'x-why': 'because' } })
    expect(await at.post('k', '[1]')).toMatchObject({ status: 503, headers: { 'retry-after': '7' } })
    expect(at.errors).toEqual([])
    expect((await at.post('k', '[1]')).status).toBe(500)
    expect(at.errors).toEqual([thrown[2]])
    expect(await at.post('k', '[1]')).toMatchObject({ status: 200, body: '{"runs":3}' })
  })

  test('a client that leaves is told to the handler, whose answer is remembered', async () => {
    const { runs, handler } = byHand()
    await using at = await mount(handler)
    const asked = at.ask({ key: 'k' })
    asked.end('[1]')
    await until(() => runs.length === 1)
    asked.leave()
    await until(() => runs[0]?.signal.aborted === true)
    runs[0]?.done({ kept: true })
    const again = await at.post('k', '[1]')
    expect(again).toMatchObject({ status: 200, body: '{"kept":true}', headers: { 'idempotency-replayed': 'true' } })
    expect(at.errors).toEqual([])
  })

  test('a signal is not aborted by an answer that was given', async () => {
    const signals: AbortSignal[] = []
    await using at = await mount(async (_, { signal }) => void signals.push(signal))
    await at.post('k', '[1]')
    await until(() => at.sockets.size === (name.endsWith('/2') ? 1 : 0))
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
  })

  // Where the framework reads the body, its own bounds and deadlines hold.
  test.skipIf(reads)('a body that turns out too large is a 413 while the client still sends', async () => {
    const clock = virtualClock()
    await using at = await mount(never, { maxBodyBytes: 100_000, clock })
    const asked = at.ask({ key: 'k' })
    asked.write('x'.repeat(150_000))
    expect(await asked.answer).toMatchObject({ status: 413 })
    expect(clock.pending).toBeLessThanOrEqual(1)
    // More comes, is thrown away, and the client finds the connection as it should be.
    asked.write('x'.repeat(500_000))
    asked.end()
    await until(() => clock.pending === 0)
    expect((await at.post(undefined, '1')).status).toBe(400)
  })

  test.skipIf(reads)('a body that stalls is a 408 at the deadline, and holds no key', async () => {
    const clock = virtualClock()
    const { runs, handler } = byHand()
    await using at = await mount(handler, { clock, bodyTimeoutMs: 5_000 })
    const asked = at.ask({ key: 'k' })
    asked.write('[1')
    await until(() => clock.pending === 1)
    const whole = at.post('k', '[1]')
    await until(() => runs.length === 1)
    runs[0]?.done({ id: 1 })
    expect((await whole).status).toBe(200)
    await clock.advance(5_000)
    expect((await asked.answer).status).toBe(408)
    await clock.advance(5_000)
    expect(clock.pending).toBe(0)
    await until(() => at.sockets.size === (name.endsWith('/2') ? 1 : 0))
  })

  test.skipIf(reads)('a client that leaves amid its body leaves nothing behind', async () => {
    const clock = virtualClock()
    await using at = await mount(never, { clock })
    const asked = at.ask({ key: 'k' })
    asked.write('[1')
    await until(() => clock.pending === 1)
    asked.leave()
    await until(() => clock.pending === 0)
    expect(at.errors).toEqual([])
  })
})

/** A client that writes what the test wants, on one connection. */
async function raw(handler: Handler, options: Options) {
  const served = await listen(inNode(handler, options))
  const { port } = served.address as { port: number }
  const socket = net.connect(port, '127.0.0.1')
  const at = {
    served,
    socket,
    text: '',
    closed: false,
    head: (key: string, length: number) =>
      `POST / HTTP/1.1\r\nhost: x\r\nidempotency-key: ${key}\r\ncontent-type: text/plain\r\ncontent-length: ${length}\r\n\r\n`,
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await served[Symbol.asyncDispose]()
    },
  }
  socket.on('data', (data: Buffer) => (at.text += data))
  socket.on('error', () => {})
  socket.on('close', () => {
    at.closed = true
  })
  return at
}

test.each([
  ['declared', (at: { head(key: string, length: number): string }) => at.head('k', 200_000)],
  [
    'found',
    () =>
      'POST / HTTP/1.1\r\nhost: x\r\nidempotency-key: k\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n',
  ],
])('node: behind a body that is %s too large, the connection serves the next message', async (how, headOf) => {
  const clock = virtualClock()
  await using at = await raw(async (message) => ({ message }), { maxBodyBytes: 1_000, clock })
  const chunk = 'x'.repeat(20_000)
  const piece = how === 'found' ? `${chunk.length.toString(16)}\r\n${chunk}\r\n` : chunk
  at.socket.write(headOf(at) + piece)
  await until(() => at.text.includes('413'))
  for (let n = 1; n < 10; n++) at.socket.write(piece)
  if (how === 'found') at.socket.write('0\r\n\r\n')
  at.socket.write(`${at.head('l', 5)}hello`)
  await until(() => at.text.includes('{"message":"hello"}'))
  await until(() => clock.pending === 0)
  expect(at.closed).toBe(false)
})

test('node: a body that is too large and never ends is cut after as long as a body may take', async () => {
  const clock = virtualClock()
  await using at = await raw(never, { maxBodyBytes: 1_000, clock })
  at.socket.write(`${at.head('k', 1e9)}${'x'.repeat(5_000)}`)
  await until(() => at.text.includes('413'))
  await clock.advance(14_999)
  expect(at.closed).toBe(false)
  await clock.advance(1)
  await until(() => at.closed)
  expect(clock.pending).toBe(0)
})

test('node: after a body that stalled, the connection is closed behind the 408', async () => {
  const clock = virtualClock()
  await using at = await raw(never, { clock })
  at.socket.write(`${at.head('k', 10)}hello`)
  await until(() => clock.pending === 1)
  await clock.advance(15_000)
  await until(() => at.closed)
  expect(at.text).toMatch(/^HTTP\/1\.1 408 .*connection: close/is)
  expect(clock.pending).toBe(0)
})

test('node: what a parser did not touch is read, though it left an empty object', async () => {
  const handle = inNode(async (message) => ({ message }))
  await using served = await listen((req, res) => handle(Object.assign(req, { body: {} }), res))
  const { port } = served.address as { port: number }
  const headers = { 'idempotency-key': 'k', 'content-type': 'text/plain' }
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: 'hi' })
  expect(await response.json()).toEqual({ message: 'hi' })
})

test('node: when nobody is left to be refused, what was thrown is reported only if it was no refusal', async () => {
  const errors: unknown[] = []
  const fails: ((error: unknown) => void)[] = []
  const onError = (error: unknown) => errors.push(error)
  const handler: Handler = () => new Promise((_, fail) => fails.push(fail))
  const boom = new Error('boom')
  for (const thrown of [Object.assign(new Error('no'), { status: 403 }), new Response('no', { status: 409 }), boom]) {
    await using at = await raw(handler, { onError })
    at.socket.write(`${at.head('k', 1)}x`)
    await until(() => fails.length === 1)
    at.socket.destroy()
    await until(() => at.served.sockets.size === 0)
    fails.pop()?.(thrown)
  }
  expect(errors).toEqual([boom])
})

test('web: a Request is all that it takes', async () => {
  const handler = inWeb(async (message) => ({ message }))
  const ask = () =>
    handler(
      new Request('http://x/', {
        method: 'POST',
        headers: { 'idempotency-key': 'k', 'content-type': 'text/plain' },
        body: 'hi',
      }),
    )
  expect(await (await ask()).json()).toEqual({ message: 'hi' })
  expect((await ask()).headers.get('idempotency-replayed')).toBe('true')
})

test('web: reading stops at the bound, and the source of the body is told', async () => {
  let pulls = 0
  let cancelled = false
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulls++
      controller.enqueue(new Uint8Array(1_000))
    },
    cancel() {
      cancelled = true
    },
  })
  const init = {
    method: 'POST',
    headers: { 'idempotency-key': 'k', 'content-type': 'text/plain' },
    body,
    duplex: 'half',
  }
  const response = await inWeb(never, { maxBodyBytes: 10_000 })(new Request('http://x/', init as RequestInit))
  expect(response.status).toBe(413)
  expect(cancelled).toBe(true)
  expect(pulls).toBeLessThan(15)
})

test('web: a request that somebody has read is a 500 that names the mend', async () => {
  const errors: unknown[] = []
  const request = new Request('http://x/', {
    method: 'POST',
    headers: { 'idempotency-key': 'k', 'content-type': 'application/json' },
    body: '{}',
  })
  await request.text()
  const response = await inWeb(never, { onError: (error) => errors.push(error) })(request)
  expect(response.status).toBe(500)
  expect(String(errors)).toMatch(/TypeError: Expected a request whose body is unread/)
})
