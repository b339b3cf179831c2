import { once } from 'node:events'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import { openSSE, sse } from '../../src/adapters/fastify.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { read } from '../support/raw-reader.js'
import { until } from '../support/turns.js'

async function portOf(app: { listen(options: { port: number; host: string }): Promise<string> }): Promise<number> {
  return Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
}

test('hooks run: onRequest and preHandler before the stream, onResponse once after it, onSend never', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  const log: string[] = []
  app.addHook('onRequest', async () => void log.push('onRequest'))
  app.addHook('preHandler', async () => void log.push('preHandler'))
  app.addHook('onSend', async () => void log.push('onSend'))
  app.addHook('onResponse', async () => void log.push('onResponse'))
  const stream = () => {
    log.push('stream')
    return 's'
  }
  app.get('/s', sse(hub, { stream, onClose: (_, reason) => log.push(reason) }))
  const reader = await read({ port: await portOf(app) }, '/s')
  await reader.until(({ frames }) => frames.length === 1)
  expect(log).toEqual(['onRequest', 'preHandler', 'stream'])
  await hub.seal('s')
  await reader.end()
  await until(() => log.length === 5)
  expect(log.slice(3).sort()).toEqual(['onResponse', 'sealed'])
})

test('a client that leaves runs onRequestAbort, as with every request of Fastify', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  const log: string[] = []
  app.addHook('onRequestAbort', async (_) => void log.push('onRequestAbort'))
  app.get('/s', sse(hub, { stream: () => 's', onClose: (_, reason) => log.push(reason) }))
  const reader = await read({ port: await portOf(app) }, '/s')
  await reader.until(({ frames }) => frames.length === 1)
  reader.destroy()
  await until(() => log.length === 2)
  expect(log.sort()).toEqual(['client', 'onRequestAbort'])
})

test('a hook that refuses is what the client gets, and the stream never sees it', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  let asked = 0
  const stream = () => {
    asked++
    return 's'
  }
  const preHandler = async () => {
    throw Object.assign(new Error('Who are you?'), { statusCode: 401 })
  }
  app.get('/s', { preHandler }, sse(hub, { stream }))
  const answer = await (await read({ port: await portOf(app) }, '/s')).end()
  expect([answer.status, JSON.parse(answer.body)]).toMatchObject([401, { message: 'Who are you?' }])
  expect(asked).toBe(0)
})

test('with hub.close in preClose, close() ends the streams and resolves', async () => {
  const hub = createHub({ store: memoryStore() })
  const app = Fastify()
  app.addHook('preClose', () => hub.close())
  app.get('/s', sse(hub, { stream: () => 's' }))
  const reader = await read({ port: await portOf(app) }, '/s')
  await reader.until(({ frames }) => frames.length === 1)
  await app.close()
  await reader.end()
  expect(reader.json('stream:end')).toEqual({ reason: 'shutdown' })
})

test('`stream` is given the request of Fastify, with the types of the route', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  app.addHook('preClose', () => hub.close())
  app.get<{ Params: { id: string } }>('/rooms/:id', sse(hub, { stream: (request) => `room:${request.params.id}` }))
  await hub.publish('room:1', { data: 'before' })
  const reader = await read({ port: await portOf(app) }, '/rooms/1?from=earliest')
  await reader.until(({ events }) => events.length === 1)
  expect(reader.events).toEqual(['before'])
})

test('where a hook and the stream set the same field, the stream has its way', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  app.addHook('preClose', () => hub.close())
  app.addHook('onRequest', async (_, reply) => {
    reply.headers({ 'Cache-Control': 'private', 'x-count': 7 })
  })
  app.get('/s', sse(hub, { stream: () => 's' }))
  const { response } = await read({ port: await portOf(app) }, '/s')
  expect(response.headers).toMatchObject({ 'cache-control': 'no-cache, no-transform', 'x-count': '7' })
})

test('a field of a hook that no head can carry is an error, and leaves nothing joined', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using app = Fastify()
  app.addHook('onRequest', async (_, reply) => {
    reply.header('x-bad', 'a\nb')
  })
  app.setErrorHandler(async (_, __, reply) => {
    reply.removeHeader('x-bad')
    return reply.code(500).send('mended')
  })
  app.get('/s', sse(hub, { stream: () => 's' }))
  const answer = await (await read({ port: await portOf(app) }, '/s')).end()
  expect([answer.status, answer.body]).toEqual([500, 'mended'])
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
})

test('inject() sees refusals and whole streams', async () => {
  await using app = Fastify()
  app.get(
    '/two',
    sse(async function* () {
      yield { data: '1' }
      yield { data: '2' }
    }),
  )
  app.get(
    '/no',
    sse(() => {
      throw Object.assign(new Error('no'), { status: 403 })
    }),
  )
  const { statusCode, headers, body } = await app.inject('/two')
  expect([statusCode, headers['content-type']]).toEqual([200, 'text/event-stream'])
  expect(body).toContain('data: 1\n\ndata: 2\n\nevent: stream:end\n')
  expect((await app.inject('/no')).statusCode).toBe(403)
})

test('a handler may go on after openSSE, and Fastify sends nothing of its own', async () => {
  await using app = Fastify()
  app.get('/s', async (request, reply) => {
    reply.header('x-mine', '1')
    const connection = await openSSE(request, reply)
    await connection.send({ data: '1' })
    connection.close()
    await once(reply.raw, 'close')
    return { ignored: true }
  })
  const reader = await (await read({ port: await portOf(app) }, '/s')).end()
  expect(reader.response.headers['x-mine']).toBe('1')
  expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])
})
