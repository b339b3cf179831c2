import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/express.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { until } from '../support/turns.js'
import { readUnpacked } from './contract.js'
import { harnesses } from './contract-harness.js'

test('`stream` is given the request of Express: its parameters, what middleware left, in a router too', async () => {
  await using hub = createHub({ store: memoryStore() })
  const names: string[] = []
  const router = express.Router()
  router.get(
    '/rooms/:id',
    sse<{ id: string }>(hub, {
      stream: ({ params, baseUrl, res }) => {
        names.push(`${baseUrl} ${params.id} ${res?.locals.user}`)
        return `room:${params.id}`
      },
    }),
  )
  const app = express()
  app.use((_, res, next) => {
    res.locals.user = 'ada'
    next()
  })
  app.use('/api', router)
  await using served = await listen(app)
  await hub.publish('room:1', { data: 'before' })
  const reader = await read(served.address, '/api/rooms/1?from=earliest')
  await reader.until(({ events }) => events.length === 1)
  expect(names).toEqual(['/api 1 ada'])
})

test('what is thrown and is no error does not go on to the next route', async () => {
  await using hub = createHub({ store: memoryStore() })
  for (const thrown of [undefined, null, 'route', 'router', 7]) {
    const errors: unknown[] = []
    const passed: string[] = []
    const stream = () => {
      throw thrown
    }
    const app = express()
    app.get('/s', sse(hub, { stream }))
    app.get('/s', (_, res) => {
      passed.push('next route')
      res.end()
    })
    app.use((error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
      errors.push(error)
      res.status(500).end()
    })
    await using served = await listen(app)
    expect((await (await read(served.address, '/s')).end()).status).toBe(500)
    expect(errors).toEqual([expect.objectContaining({ cause: thrown })])
    expect(passed).toEqual([])
  }
})

test('middleware in front decides first: what it refuses, the stream never sees', async () => {
  await using hub = createHub({ store: memoryStore() })
  let asked = 0
  const stream = () => {
    asked++
    return 's'
  }
  const app = express()
  app.get('/s', (_, res) => void res.status(401).end(), sse(hub, { stream }))
  await using served = await listen(app)
  expect((await (await read(served.address, '/s')).end()).status).toBe(401)
  expect(asked).toBe(0)
})

test('where a middleware and the stream set the same field, the stream has its way', async () => {
  await using hub = createHub({ store: memoryStore() })
  const app = express()
  app.use((_, res, next) => {
    res.set({ 'cache-control': 'private, max-age=60', 'x-accel-buffering': 'yes' })
    next()
  })
  app.get('/s', sse(hub, { stream: () => 's' }))
  await using served = await listen(app)
  const { response } = await read(served.address, '/s')
  expect(response.headers).toMatchObject({
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  })
})

test.each(harnesses.filter(({ name }) => name === 'node' || name === 'express'))(
  '$name: a compressing middleware that may compress does, and each event is flushed through it',
  async (harness) => {
    await using hub = createHub({ store: memoryStore() })
    const headers = { 'cache-control': 'no-cache' }
    await using served = await harness.mount({ hub, compressed: true, stream: { headers } })
    const reader = await readUnpacked(served.address)
    expect(reader.encoding).toBe('gzip')
    await until(() => reader.frames.length === 1)
    for (let n = 1; n <= 3; n++) {
      await hub.publish('s', { data: String(n) })
      await until(() => reader.events.length === n)
    }
    reader.destroy()
    await until(() => hub.stats().connections === 0)
  },
)

test('an orderly end: close the server, then the hub, then what is kept alive', async () => {
  const hub = createHub({ store: memoryStore() })
  const app = express()
  app.get('/s', sse(hub, { stream: () => 's' }))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = new http.Agent({ keepAlive: true })
  const request = http.get({ port: (server.address() as AddressInfo).port, path: '/s', agent })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  const closed = once(server, 'close')
  server.close()
  await hub.close()
  server.closeIdleConnections()
  await closed
  agent.destroy()
})
