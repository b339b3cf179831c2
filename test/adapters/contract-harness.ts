import type http from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import fastifyCompress from '@fastify/compress'
import { getRequestListener } from '@hono/node-server'
import compression from 'compression'
import express from 'express'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type Context, Hono } from 'hono'
import { compress } from 'hono/compress'
import { logger } from 'hono/logger'
import * as inExpress from '../../src/adapters/express.js'
import * as inFastify from '../../src/adapters/fastify.js'
import * as inHono from '../../src/adapters/hono.js'
import * as inNode from '../../src/adapters/node.js'
import * as inWeb from '../../src/adapters/web.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../../src/server/direct.js'
import type { Hub } from '../../src/server/hub.js'
import type { StreamOptions } from '../../src/server/serve.js'
import { listen, type Served, type ServeOptions } from '../support/served.js'
import { listenHttp2, type ServedHttp2 } from './contract-http2.js'

/** What an adapter is given to serve, at every path, by GET and POST. */
export interface Mounting {
  /** `stream` is the path by default, as the framework's own request says it. */
  readonly hub?: Hub
  readonly stream?: Partial<StreamOptions<unknown>>
  /** Instead of a hub. */
  readonly events?: EventsOf<unknown>
  readonly direct?: Omit<IterableOptions, 'onError'>
  /** Instead of both: `openSSE`. */
  readonly opened?: (connection: DirectConnection) => void
  /** Set on each response by a middleware in front; a name may come twice. */
  readonly before?: readonly (readonly [name: string, value: string])[]
  /** The framework's own compressing middleware stands in front. */
  readonly compressed?: boolean
  /** The framework's own parser of JSON stands in front. */
  readonly parsed?: boolean
}

/** What was told of requests and errors. */
export interface Told {
  /** By the framework's error path; where there is no framework, by `onError`. */
  readonly errors: unknown[]
  /** By `onError`. */
  readonly reported: unknown[]
  /** By the framework's log: the status of each request that it saw answered. */
  readonly log: number[]
}

/** One adapter in its framework. */
export interface Harness {
  readonly name: string
  /** Why there is no HTTP/2. */
  readonly withoutHttp2?: string
  /** Of the request that the framework hands out. */
  pathOf(request: unknown): string
  bodyOf(request: unknown): unknown
  mount(mounting: Mounting, options?: ServeOptions): Promise<Served & Told>
  mountHttp2(mounting: Mounting): Promise<ServedHttp2 & Told>
}

type Listener = (
  req: http.IncomingMessage & Http2ServerRequest,
  res: http.ServerResponse & Http2ServerResponse,
) => unknown

interface Part extends Pick<Harness, 'name' | 'withoutHttp2' | 'pathOf' | 'bodyOf'> {
  readonly hasErrorPath: boolean
  build(mounting: Mounting, told: Told, isHttp2: boolean): Listener | Promise<Listener>
}

function harness(part: Part): Harness {
  const tell = (): Told => {
    const reported: unknown[] = []
    return { reported, errors: part.hasErrorPath ? [] : reported, log: [] }
  }
  return {
    ...part,
    async mount(mounting, options) {
      const told = tell()
      return Object.assign(await listen((await part.build(mounting, told, false)) as never, options), told)
    },
    async mountHttp2(mounting) {
      const told = tell()
      return Object.assign(await listenHttp2((await part.build(mounting, told, true)) as never), told)
    },
  }
}

/** What an adapter's `sse` makes of a mounting; its types are the business of other tests. */
function handlerOf(adapter: { readonly sse: unknown }, part: Part, mounting: Mounting, { reported }: Told) {
  const sse = adapter.sse as (what: unknown, options: object) => never
  const onError = (error: unknown) => void reported.push(error)
  const { hub, events, stream, direct } = mounting
  return hub ? sse(hub, { stream: part.pathOf, ...stream, onError }) : sse(events, { ...direct, onError })
}

const direct = ({ direct = {} }: Mounting): DirectOptions => direct

const node: Part = {
  name: 'node',
  hasErrorPath: false,
  pathOf: (request) => new URL((request as http.IncomingMessage).url ?? '', 'http://x').pathname.slice(1),
  bodyOf: (request) => (request as express.Request).body,
  build(mounting, told) {
    const { opened, before = [] } = mounting
    const handler: inNode.NodeHandler = opened
      ? (req, res) => void inNode.openSSE(req, res, direct(mounting)).then(opened)
      : handlerOf(inNode, node, mounting, told)
    const last: Listener = (req, res) => {
      res.on('finish', () => told.log.push(res.statusCode))
      for (const [name, value] of before) res.appendHeader(name, value)
      handler(req, res)
    }
    // Middleware of Express works without it.
    const parse = (mounting.parsed ? express.json() : pass) as Middleware
    const pack = (mounting.compressed ? compression() : pass) as Middleware
    return (req, res) => parse(req, res, () => pack(req, res, () => last(req, res)))
  },
}

type Middleware = (...given: [...Parameters<Listener>, next: () => void]) => void
const pass: Middleware = (_req, _res, next) => next()

const parsedBodies = new WeakMap<object, unknown>()

const web: Part = {
  name: 'web',
  hasErrorPath: false,
  pathOf: (request) => new URL((request as Request).url).pathname.slice(1),
  bodyOf: (request) => parsedBodies.get(request as Request),
  build(mounting, told) {
    const { opened, before = [] } = mounting
    const handler: inWeb.WebHandler = opened
      ? async (request) => {
          const connection = await inWeb.openSSE(request, direct(mounting))
          opened(connection)
          return connection.response
        }
      : handlerOf(inWeb, web, mounting, told)
    const wrapped = async (request: Request): Promise<Response> => {
      if (mounting.parsed) parsedBodies.set(request, await request.json())
      const { body, status, headers } = await handler(request)
      told.log.push(status)
      for (const [name, value] of before) headers.append(name, value)
      return new Response(body, { status, headers })
    }
    return getRequestListener(
      mounting.compressed ? new Hono().use(compress()).all('*', (c) => wrapped(c.req.raw)).fetch : wrapped,
    ) as Listener
  },
}

const onExpress: Part = {
  name: 'express',
  hasErrorPath: true,
  withoutHttp2: 'not offered by the framework',
  pathOf: (request) => (request as express.Request).path.slice(1),
  bodyOf: (request) => (request as express.Request).body,
  build(mounting, told) {
    const { opened, before = [] } = mounting
    const app = express()
    app.use((_, res, next) => {
      res.on('finish', () => told.log.push(res.statusCode))
      for (const [name, value] of before) res.append(name, value)
      next()
    })
    if (mounting.parsed) app.use(express.json())
    if (mounting.compressed) app.use(compression())
    const handler: express.RequestHandler = opened
      ? async (req, res) => opened(await inExpress.openSSE(req, res, direct(mounting)))
      : handlerOf(inExpress, onExpress, mounting, told)
    app.get('/{*path}', handler).post('/{*path}', handler)
    app.use((error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
      told.errors.push(error)
      res.status(500).end()
    })
    return app as Listener
  },
}

const onFastify: Part = {
  name: 'fastify',
  hasErrorPath: true,
  pathOf: (request) => (request as FastifyRequest<{ Params: { '*': string } }>).params['*'],
  bodyOf: (request) => (request as FastifyRequest).body,
  async build(mounting, told, isHttp2) {
    const { opened, before = [] } = mounting
    const stream = new Writable({
      write(line: Buffer, _, done) {
        const { msg, res } = JSON.parse(line.toString()) as { msg: string; res?: { statusCode: number } }
        if (msg === 'request completed' && res) told.log.push(res.statusCode)
        done()
      },
    })
    const app: FastifyInstance = Fastify({
      logger: { stream, level: 'info' },
      ...(isHttp2 && { http2: true }),
    } as object)
    app.addHook('onRequest', async (_, reply) => {
      for (const [name, value] of before) reply.header(name, value)
    })
    if (mounting.compressed) await app.register(fastifyCompress)
    app.setErrorHandler((error, _, reply) => {
      told.errors.push(error)
      return reply.code(500).send()
    })
    const handler: inFastify.FastifyHandler<object, never> = opened
      ? async (request, reply) => opened(await inFastify.openSSE(request, reply, direct(mounting)))
      : handlerOf(inFastify, onFastify, mounting, told)
    app.get('/*', handler as never)
    app.post('/*', handler as never)
    await app.ready()
    return (req, res) => app.routing(req, res)
  },
}

const onHono: Part = {
  name: 'hono',
  hasErrorPath: true,
  pathOf: (request) => (request as Context).req.path.slice(1),
  bodyOf: (request) => (request as Context).req.json(),
  build(mounting, told) {
    const { opened, before = [] } = mounting
    const app = new Hono()
    app.use(
      logger((line) => {
        const [, status] = /^--> .* (\d{3}) /.exec(stripVTControlCharacters(line)) ?? []
        if (status) told.log.push(Number(status))
      }),
    )
    if (mounting.compressed) app.use(compress())
    app.use(async (c, next) => {
      for (const [name, value] of before) c.header(name, value, { append: true })
      if (mounting.parsed) await c.req.json()
      await next()
    })
    app.onError((error, c) => {
      told.errors.push(error)
      return c.body(null, 500)
    })
    const handler: inHono.HonoHandler<Context> = opened
      ? async (c) => {
          const connection = await inHono.openSSE(c, direct(mounting))
          opened(connection)
          return connection.response
        }
      : handlerOf(inHono, onHono, mounting, told)
    app.get('*', handler).post('*', handler)
    return getRequestListener(app.fetch) as Listener
  },
}

export const harnesses: readonly Harness[] = [node, web, onExpress, onFastify, onHono].map(harness)
