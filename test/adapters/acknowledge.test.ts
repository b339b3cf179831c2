import type http from 'node:http'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import * as inExpress from '../../src/adapters/express.js'
import * as inFastify from '../../src/adapters/fastify.js'
import * as inHono from '../../src/adapters/hono.js'
import * as inNode from '../../src/adapters/node.js'
import * as inWeb from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { until } from '../support/turns.js'

type Listener = (req: http.IncomingMessage, res: http.ServerResponse) => void

const stream = () => 'news'
const from = 'earliest'

function onExpress(app: express.Express, hub: Hub): Listener {
  return app.get('/events', inExpress.sse(hub, { stream, from })).all('/acks', inExpress.acknowledge(hub))
}

function onHono(app: Hono, hub: Hub): Listener {
  app.get('/events', inHono.sse(hub, { stream, from })).all('/acks', inHono.acknowledge(hub))
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

/** The stream at `/events`, and what takes acknowledgements at `/acks`. */
const listeners: Record<string, (hub: Hub) => Listener | Promise<Listener>> = {
  node: (hub) => {
    const events = inNode.sse(hub, { stream, from })
    const acks = inNode.acknowledge(hub)
    return (req, res) => (req.url === '/acks' ? acks : events)(req, res)
  },
  web: (hub) => {
    const events = inWeb.sse(hub, { stream, from })
    const acks = inWeb.acknowledge(hub)
    return getRequestListener((request) => (request.url.endsWith('/acks') ? acks : events)(request), {
      overrideGlobalObjects: false,
    })
  },
  express: (hub) => onExpress(express(), hub),
  'express with a parser': (hub) => onExpress(express().use(express.json()), hub),
  fastify: async (hub) => {
    const app = Fastify()
    app.get('/events', inFastify.sse(hub, { stream, from }))
    app.all('/acks', inFastify.acknowledge(hub))
    await app.ready()
    return (req, res) => app.routing(req, res)
  },
  hono: (hub) => onHono(new Hono(), hub),
  'hono after a reader': (hub) => {
    const app = new Hono()
    app.use('/acks', async (c, next) => {
      await c.req.text()
      return next()
    })
    return onHono(app, hub)
  },
}

describe.each(Object.entries(listeners))('%s', (_, make) => {
  async function mount() {
    const clock = virtualClock()
    const errors: unknown[] = []
    const hub = createHub({ store: memoryStore(), clock, onError: (error) => errors.push(error) })
    const served = await listen(await make(hub))
    const { port } = served.address as { port: number }
    const post = (body: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${port}/acks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        ...init,
      })
    return {
      hub,
      served,
      clock,
      port,
      status: async (...asked: Parameters<typeof post>) => {
        const response = await post(...asked)
        await response.text()
        return response.status
      },
      post,
      async [Symbol.asyncDispose]() {
        await served[Symbol.asyncDispose]()
        await hub.close()
        expect([clock.pending, errors]).toEqual([0, []])
      },
    }
  }

  test('what a client says of its connection is known to the hub', async () => {
    await using at = await mount()
    const { cursor } = await at.hub.publish('news', { data: 'a' })
    const last = await at.hub.publish('news', { data: 'b' })
    await using reader = await read(at.served.address, '/events')
    await reader.until(({ frames }) => frames.length === 3)
    const { connection } = reader.json('stream:ready')
    expect(at.hub.delivery('news')).toMatchObject([{ written: last.cursor, acknowledged: null, unacknowledged: 2 }])
    const response = await at.post(JSON.stringify({ connection, cursor }))
    expect([response.status, await response.text()]).toEqual([204, ''])
    expect(at.hub.delivery('news')).toMatchObject([
      { written: last.cursor, acknowledged: cursor, unacknowledged: 1, connection: { id: connection } },
    ])
    expect(await at.status(JSON.stringify({ connection, cursor: null }))).toBe(204)
    // What a later version of the client may add does not matter.
    expect(await at.status(JSON.stringify({ connection, cursor: last.cursor, more: 1 }))).toBe(204)
    expect(at.hub.delivery('news')).toMatchObject([{ acknowledged: last.cursor, unacknowledged: 0 }])
  })

  test('a connection that is not here is a 404', async () => {
    await using at = await mount()
    expect(await at.status('{"connection":"nobody","cursor":"a.1.b"}')).toBe(404)
    expect(await at.status('{"connection":"__proto__","cursor":null}')).toBe(404)
  })

  test('what is malformed is a 400', async () => {
    await using at = await mount()
    for (const body of [
      '{"connection":',
      '[]',
      '"x"',
      'null',
      '{"connection":7,"cursor":"a"}',
      '{"connection":"a"}',
      '{"connection":"a","cursor":{}}',
    ]) {
      expect([body, await at.status(body)]).toEqual([body, 400])
    }
  })

  test('GET is a 405 that allows POST, a type that cannot be read a 415, a long body a 413', async () => {
    await using at = await mount()
    const got = await at.post('', { method: 'GET', body: null, headers: {} })
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST'])
    await got.text()
    expect(await at.status('a=1', { headers: { 'content-type': 'application/x-www-form-urlencoded' } })).toBe(415)
    expect(await at.status(JSON.stringify({ connection: 'x'.repeat(10_000), cursor: null }))).toBe(413)
  })

  test('a client of ours is heard', async () => {
    await using at = await mount()
    const { cursor } = await at.hub.publish('news', { data: 'a' })
    const clientClock = virtualClock()
    const stream = connect(`http://127.0.0.1:${at.port}/events`, { acks: 'acks', clock: clientClock })
    const reading = (async () => {
      for await (const _ of stream);
    })()
    await until(() => stream.cursor === cursor)
    await clientClock.advance(1_000)
    await until(() => at.hub.delivery('news')[0]?.acknowledged === cursor)
    // The POST has its answer.
    await until(() => clientClock.pending === 1)
    stream.close()
    await reading
    expect(clientClock.pending).toBe(0)
  })
})

const verbs: Record<string, (hub: Hub) => unknown> = {
  node: inNode.acknowledge,
  web: inWeb.acknowledge,
  express: inExpress.acknowledge,
  fastify: inFastify.acknowledge,
  hono: inHono.acknowledge,
}

test.each(Object.entries(verbs))('%s: what is no hub is refused at once', (_, acknowledge) => {
  expect(() => acknowledge({} as Hub)).toThrow(/Expected a hub, made by createHub\(\), got an object/)
  expect(() => acknowledge(undefined as never)).toThrow(TypeError)
})
