import { type Context, Hono } from 'hono'
import { setCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { expect, test } from 'vitest'
import { openSSE, sse } from '../../src/adapters/hono.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { until } from '../support/turns.js'

type App = { Variables: { user: string } }

test('`stream` is given the context of Hono: parameters and what middleware left', async () => {
  await using hub = createHub({ store: memoryStore() })
  const app = new Hono<App>()
  const names: string[] = []
  app.use(async (c, next) => {
    c.set('user', 'ada')
    await next()
  })
  const stream = (c: Context<App, '/rooms/:id'>) => {
    const name: string = `${c.get('user')} ${c.req.param('id')}`
    names.push(name)
    return name
  }
  app.get('/rooms/:id', sse(hub, { stream }))
  const response = await app.request('/rooms/1')
  await response.body?.cancel()
  expect(names).toEqual(['ada 1'])
  await until(() => hub.stats().connections === 0)
})

test('an HTTPException is its own response, and no business of app.onError', async () => {
  await using hub = createHub({ store: memoryStore() })
  const app = new Hono()
  const errors: unknown[] = []
  app.onError((error, c) => {
    errors.push(error)
    return c.text('onError', 500)
  })
  const res = new Response('Log in', { status: 401, headers: { 'www-authenticate': 'Bearer' } })
  const thrown = [new HTTPException(403, { message: 'Not yours' }), new HTTPException(401, { res })]
  app.get(
    '/:n',
    sse(hub, {
      stream: (c) => {
        throw thrown[Number(c.req.param('n'))]
      },
    }),
  )
  const forbidden = await app.request('/0')
  expect([forbidden.status, await forbidden.text()]).toEqual([403, 'Not yours'])
  const unknown = await app.request('/1')
  expect([unknown.status, await unknown.text()]).toEqual([401, 'Log in'])
  expect(unknown.headers.get('www-authenticate')).toBe('Bearer')
  expect(errors).toEqual([])
})

test('what is thrown and is no error goes to app.onError as the cause of one', async () => {
  await using hub = createHub({ store: memoryStore() })
  const app = new Hono()
  const errors: Error[] = []
  app.onError((error, c) => {
    errors.push(error)
    return c.text('onError', 500)
  })
  const stream = () => {
    throw 'a string'
  }
  app.get('/', sse(hub, { stream }))
  expect((await app.request('/')).status).toBe(500)
  expect(errors).toEqual([expect.objectContaining({ cause: 'a string' })])
})

test('the fields of cors() and setCookie() are in the head; where a middleware set the same, the stream has its way', async () => {
  await using hub = createHub({ store: memoryStore() })
  const app = new Hono()
  app.use(cors({ origin: 'https://app.example', credentials: true }))
  app.use(async (c, next) => {
    c.header('cache-control', 'private, max-age=60')
    c.status(201)
    setCookie(c, 'a', '1')
    await next()
    c.header('x-after', '1')
  })
  app.get('/s', sse(hub, { stream: () => 's' }))
  const response = await app.request('/s', { headers: { origin: 'https://app.example' } })
  expect(response.status).toBe(200)
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'access-control-allow-origin': 'https://app.example',
    'access-control-allow-credentials': 'true',
    'cache-control': 'no-cache, no-transform',
    'content-type': 'text/event-stream',
    'set-cookie': 'a=1; Path=/',
    'x-after': '1',
  })
  await response.body?.cancel()
})

test('without any middleware, what the handler set on the context is in the head', async () => {
  await using hub = createHub({ store: memoryStore() })
  const handler = sse(hub, { stream: () => 's' })
  const app = new Hono().get('/s', (c) => {
    c.header('x-mine', '1')
    return handler(c)
  })
  const response = await app.request('/s')
  expect(response.headers.get('x-mine')).toBe('1')
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  await response.body?.cancel()
})

test('openSSE brings the response that is to be returned', async () => {
  const app = new Hono().get('/s', async (c) => {
    c.header('x-mine', '1')
    const connection = await openSSE(c)
    await connection.send({ data: '1' })
    connection.close()
    return connection.response
  })
  const response = await app.request('/s')
  expect(response.headers.get('x-mine')).toBe('1')
  expect(await response.text()).toContain('data: 1\n\nevent: stream:end\n')
})
