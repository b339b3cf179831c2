// The other libraries, each as its own documentation shows it.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastifySSE from '@fastify/sse'
import { serve } from '@hono/node-server'
import { createChannel, createEventBuffer, createSession, type EventBuffer, type Session } from 'better-sse'
import fastify, { type FastifyReply } from 'fastify'
import { EventStream, H3, toNodeHandler } from 'h3'
import { Hono } from 'hono'
import { type SSEStreamingApi, streamSSE } from 'hono/streaming'
import type { Contender, ServerOptions } from './contender.js'
import { listen } from './raw.js'

function betterSSEWith(options: ServerOptions, how: 'push' | 'batch' | 'shared batch'): Contender {
  const channel = createChannel()
  const responses = new Map<Session, ServerResponse>()
  const server = createServer(async (req, res) => {
    const keepAlive = options.heartbeatMs === 0 ? null : options.heartbeatMs
    const session = await createSession(req, res, keepAlive === undefined ? {} : { keepAlive })
    responses.set(session, res)
    channel.register(session)
    session.once('disconnected', () => responses.delete(session))
  })
  const batches = (data: readonly string[], first: number) => {
    const fill = (buffer: EventBuffer) => {
      for (const [index, each] of data.entries()) buffer.push(each, 'message', String(first + index))
    }
    if (how === 'batch') return Promise.all(channel.activeSessions.map((session) => session.batch(fill)))
    const buffer = createEventBuffer()
    fill(buffer)
    return Promise.all(channel.activeSessions.map((session) => session.batch(buffer)))
  }
  return {
    listen: () => listen(server),
    connections: () => channel.sessionCount,
    async flat(data) {
      const [entry] = responses
      if (!entry) throw new Error('no connection')
      const [session, res] = entry
      if (how === 'push') {
        for (let n = 0; n < data.length; n++) {
          session.push(data[n], 'message', String(n))
          if (res.writableNeedDrain) await once(res, 'drain')
        }
        return
      }
      for (let n = 0; n < data.length; n += 100) {
        await session.batch((buffer) => {
          for (let m = n; m < Math.min(data.length, n + 100); m++) buffer.push(data[m], 'message', String(m))
        })
        if (res.writableNeedDrain) await once(res, 'drain')
      }
    },
    send(data, n) {
      if (how === 'push') return void channel.broadcast(data, 'message', { eventId: String(n) })
      return batches([data], n)
    },
    ...(how !== 'push' && { burst: batches }),
  }
}

/** `session.push` for one connection, `channel.broadcast` for many. */
export const betterSSE = (options: ServerOptions) => betterSSEWith(options, 'push')
/** `session.batch`, filled for each session. */
export const betterSSEBatch = (options: ServerOptions) => betterSSEWith(options, 'batch')
/** `session.batch`, with one buffer that all sessions share. */
export const betterSSEShared = (options: ServerOptions) => betterSSEWith(options, 'shared batch')

export async function fastifySse(options: ServerOptions): Promise<Contender> {
  const app = fastify()
  const open = new Set<FastifyReply>()
  await app.register(fastifySSE, { heartbeatInterval: options.heartbeatMs ?? 30_000 })
  app.get('/', { sse: 'only' }, async (_, reply) => {
    reply.sse.keepAlive()
    reply.sse.sendHeaders()
    reply.raw.flushHeaders()
    open.add(reply)
    reply.sse.onClose(() => void open.delete(reply))
  })
  return {
    async listen() {
      await app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
      return (app.server.address() as AddressInfo).port
    },
    connections: () => open.size,
    async flat(data) {
      const [reply] = open
      if (!reply) throw new Error('no connection')
      for (let n = 0; n < data.length; n++) await reply.sse.send({ id: String(n), data: data[n] })
    },
    send: (data, n) => Promise.all(Array.from(open, (reply) => reply.sse.send({ id: String(n), data }))),
  }
}

export function hono(_: ServerOptions): Contender {
  const app = new Hono()
  const open = new Set<SSEStreamingApi>()
  app.get('/', (c) =>
    streamSSE(c, async (stream) => {
      open.add(stream)
      await new Promise<void>((resolve) => {
        stream.onAbort(() => {
          open.delete(stream)
          resolve()
        })
      })
    }),
  )
  return {
    listen: () =>
      new Promise((resolve) => {
        serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
      }),
    connections: () => open.size,
    async flat(data) {
      const [stream] = open
      if (!stream) throw new Error('no connection')
      for (let n = 0; n < data.length; n++) await stream.writeSSE({ id: String(n), data: data[n] ?? '' })
    },
    send: (data, n) => Promise.all(Array.from(open, (stream) => stream.writeSSE({ id: String(n), data }))),
  }
}

export function h3(_: ServerOptions): Contender {
  const app = new H3()
  const open = new Set<EventStream>()
  app.get('/', (event) => {
    const stream = new EventStream(event)
    open.add(stream)
    stream.onClosed(() => void open.delete(stream))
    // It sends no head before there is something to say.
    void stream.pushComment('open')
    return stream.send()
  })
  const server = createServer(toNodeHandler(app))
  return {
    listen: () => listen(server),
    connections: () => open.size,
    async flat(data) {
      const [stream] = open
      if (!stream) throw new Error('no connection')
      for (let n = 0; n < data.length; n++) await stream.push({ id: String(n), data: data[n] ?? '' })
    },
    send: (data, n) => Promise.all(Array.from(open, (stream) => stream.push({ id: String(n), data }))),
  }
}
