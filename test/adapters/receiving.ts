import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import Fastify, { type FastifyInstance } from 'fastify'
import { Hono } from 'hono'
import { receive as inExpress } from '../../src/adapters/express.js'
import { receive as inFastify } from '../../src/adapters/fastify.js'
import { receive as inHono } from '../../src/adapters/hono.js'
import { receive as inNode } from '../../src/adapters/node.js'
import { receive as inWeb } from '../../src/adapters/web.js'
import type { MessageContext, ReceiveOptions } from '../../src/server/receive.js'

/** A handler that fits every adapter. */
export type Handler = (message: unknown, context: MessageContext<unknown>) => Promise<object | string | undefined>
export type Options = Omit<ReceiveOptions<unknown, never>, 'scope'>

export interface Answered {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

export interface Asking {
  readonly method?: string
  readonly key?: string | undefined
  readonly type?: string | undefined
  readonly headers?: Record<string, string>
}

/** A request under way. */
export interface Asked {
  readonly answer: Promise<Answered>
  write(data: string | Uint8Array): void
  end(data?: string): void
  /** The client leaves. */
  leave(): void
}

/** An adapter behind a socket. */
export interface Mounted extends AsyncDisposable {
  /** What the framework's error path, or `onError`, was told. */
  readonly errors: unknown[]
  /** The server's sides of the connections that are open. */
  readonly sockets: ReadonlySet<Socket>
  ask(asking: Asking): Asked
  post(key: string | undefined, body: string, more?: Asking): Promise<Answered>
}

type Listener = (req: http.IncomingMessage, res: http.ServerResponse) => void
type Make = (handler: Handler, options: Options, errors: unknown[]) => Listener | Promise<Listener>

export interface Place {
  readonly name: string
  /** The framework reads the body itself, with its own bounds. */
  readonly reads?: true
  mount(handler: Handler, options?: Options): Promise<Mounted>
}

const listeners: Record<string, Make> = {
  node: (handler, options, errors) => inNode(handler, { onError: (error) => errors.push(error), ...options }),
  web: (handler, options, errors) => {
    const handle = inWeb(handler, { onError: (error) => errors.push(error), ...options })
    return getRequestListener(handle, { overrideGlobalObjects: false })
  },
  express: (handler, options, errors) => onExpress(express(), handler, options, errors),
  'express with parsers': (handler, options, errors) => {
    const app = express().use(express.json(), express.text({ type: 'text/*' }), express.raw({ type: 'text/raw' }))
    return onExpress(app, handler, options, errors)
  },
  fastify: async (handler, options, errors) => {
    const app: FastifyInstance = Fastify()
    app.setErrorHandler((error: { statusCode?: number }, _, reply) => {
      errors.push(error)
      return reply.code(error.statusCode ?? 500).send('')
    })
    app.all('/', inFastify(handler, options))
    await app.ready()
    return (req, res) => app.routing(req, res)
  },
  hono: (handler, options, errors) => onHono(new Hono(), handler, options, errors),
  'hono after a reader': (handler, options, errors) => {
    const app = new Hono()
    app.use(async (c, next) => {
      if (c.req.header('content-type')?.includes('json')) await c.req.json().catch(() => {})
      else await c.req.text()
      return next()
    })
    return onHono(app, handler, options, errors)
  },
}

function onExpress(app: express.Express, handler: Handler, options: Options, errors: unknown[]): Listener {
  app.all('/', inExpress(handler, options))
  app.use((error: { status?: number }, _: express.Request, res: express.Response, _next: express.NextFunction) => {
    errors.push(error)
    res.status(error.status ?? 500).end()
  })
  return app
}

function onHono(app: Hono, handler: Handler, options: Options, errors: unknown[]): Listener {
  app.all('/', inHono(handler, options))
  app.onError((error, c) => {
    errors.push(error)
    return c.body(null, 500)
  })
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

const reads: ReadonlySet<string> = new Set(['express with parsers', 'fastify', 'hono after a reader'])

export const places: readonly Place[] = [
  ...Object.entries(listeners).map(([name, make]) => place(name, make, overHttp1)),
  place('node over HTTP/2', listeners.node as Make, overHttp2),
  place('hono over HTTP/2', listeners.hono as Make, overHttp2),
]

function place(
  name: string,
  make: Make,
  over: (listener: Listener) => Promise<Omit<Mounted, 'errors' | 'post'>>,
): Place {
  return {
    name,
    ...(reads.has(name) && { reads: true }),
    async mount(handler, options = {}) {
      const errors: unknown[] = []
      const mounted = await over(await make(handler, options, errors))
      return {
        ...mounted,
        errors,
        post(key, body, more = {}) {
          const asked = mounted.ask({ key, ...more })
          asked.end(body)
          return asked.answer
        },
      }
    },
  }
}

function headersOf({ key, type = 'application/json', headers = {} }: Asking): Record<string, string> {
  return { ...(key !== undefined && { 'idempotency-key': key }), ...(type && { 'content-type': type }), ...headers }
}

async function overHttp1(listener: Listener) {
  const server = http.createServer(listener)
  const { port, sockets, close } = await listening(server)
  return {
    sockets,
    ask(asking: Asking): Asked {
      const { method = 'POST' } = asking
      const req = http.request({ port, host: '127.0.0.1', method, headers: headersOf(asking), agent: false })
      const answer = new Promise<Answered>((resolve, reject) => {
        req.on('error', reject)
        req.on('response', (res) => {
          let body = ''
          res.on('data', (data: Buffer) => (body += data))
          res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body }))
          res.on('error', reject)
        })
      })
      answer.catch(() => {})
      req.flushHeaders()
      return { answer, write: (data) => req.write(data), end: (data) => req.end(data), leave: () => req.destroy() }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await close()
    },
  }
}

async function overHttp2(listener: Listener) {
  const server = http2.createServer(listener as never)
  const { port, sockets, close } = await listening(server)
  const session = http2.connect(`http://127.0.0.1:${port}`)
  await once(session, 'connect')
  return {
    sockets,
    ask(asking: Asking): Asked {
      const stream = session.request({ ':method': asking.method ?? 'POST', ...headersOf(asking) }, { endStream: false })
      const answer = new Promise<Answered>((resolve, reject) => {
        let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
        let body = ''
        stream.on('response', (headers) => {
          head = headers
        })
        stream.on('data', (data: Buffer) => (body += data))
        stream.on('end', () => {
          const { ':status': status = 0, ...headers } = head
          if (status) resolve({ status, headers, body })
          else reject(new Error('The stream ended without a head.'))
        })
        stream.on('error', reject)
      })
      answer.catch(() => {})
      return {
        answer,
        write: (data) => stream.write(data),
        end: (data) => stream.end(data),
        leave: () => stream.close(http2.constants.NGHTTP2_CANCEL),
      }
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
      await close()
    },
  }
}

async function listening(server: http.Server | http2.Http2Server) {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    const closed = once(server, 'close')
    server.close()
    await closed
  }
  return { port, sockets, close }
}
