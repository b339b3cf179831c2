import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import {
  type DirectConnection,
  type DirectOptions,
  DirectServer,
  type EventsOf,
  type IterableOptions,
  pour,
  startIterable,
} from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import { reportTo } from '../server/report.js'
import {
  type Answer,
  checkStreamOptions,
  cursorOf,
  type Inquiry,
  isResponse,
  type StreamOptions,
  serve,
  statusOf,
} from '../server/serve.js'
import { isHopByHop } from './hop-by-hop.js'
import { isGone, offGone, onGone } from './node-gone.js'
import { NodeSink } from './node-sink.js'

/** A request of `node:http` or `node:http2`. */
export type NodeRequest = IncomingMessage | Http2ServerRequest
/** A response of `node:http` or `node:http2`. */
export type NodeResponse = ServerResponse | Http2ServerResponse

/** One request as its framework hands it out, and the pair of Node's behind it. */
export interface Exchange<Request> {
  readonly request: Request
  readonly req: NodeRequest
  readonly res: NodeResponse
  /** Called when the response is about to be written to; until then it is the framework's. */
  takeOver?(): void
}

/** Answers one request. Rejects, with nothing sent, with what is neither a `Response` nor an error with a status. */
export type NodeBridge<Request> = (exchange: Exchange<Request>) => Promise<void>

/** The one way from a request to a response of Node's. */
export function bridge<Request>(
  what: Hub | EventsOf<Request>,
  options?: StreamOptions<Request> | IterableOptions,
): NodeBridge<Request> {
  const handle =
    typeof what === 'function'
      ? iterableBridge(what, options as IterableOptions)
      : hubBridge(what, options as StreamOptions<Request>)
  return (exchange) => handle(exchange).catch((error: unknown) => refuse(exchange, error, options?.onError))
}

/** Sends the head and opens a response that its user writes to. */
export function openDirect(exchange: Exchange<unknown>, options: DirectOptions): DirectConnection {
  const server = new DirectServer(options)
  sendHead(exchange, server.headers)
  const connection = server.open(new NodeSink(exchange.req, exchange.res))
  if (exchange.req.method === 'HEAD') connection.close()
  return connection
}

function hubBridge<Request>(hub: Hub, options: StreamOptions<Request>): NodeBridge<Request> {
  checkStreamOptions(options)
  return async (exchange) => {
    const { request, req, res } = exchange
    const leaving = new Leaving(req, res)
    try {
      const plan = await serve(hub, request, new NodeInquiry(req, leaving), options)
      if (plan.kind === 'answer') return answer(exchange, plan)
      if (leaving.isOver) return plan.abandon()
      try {
        sendHead(exchange, plan.headers)
      } catch (error) {
        plan.abandon()
        throw error
      }
      plan.start(new NodeSink(req, res))
    } catch (error) {
      if (!leaving.isOver) throw error
    } finally {
      leaving.dispose()
    }
  }
}

function iterableBridge<Request>(events: EventsOf<Request>, options: IterableOptions = {}): NodeBridge<Request> {
  const server = new DirectServer(options)
  return async (exchange) => {
    const { request, req, res } = exchange
    if (req.method === 'HEAD') return answer(exchange, { status: 200, headers: server.headers, body: '' })
    const leaving = new Leaving(req, res)
    try {
      const lastEventId = cursorOf(new NodeInquiry(req, leaving))
      const started = await startIterable(await events(request, { signal: leaving.signal, lastEventId }))
      if (!leaving.isOver) sendHead(exchange, server.headers)
      await pour(started, server.open(new NodeSink(req, res)), options)
    } finally {
      leaving.dispose()
    }
  }
}

/** Notices a client that leaves. The signal is made for those who ask for it: it costs more than the rest of a join. */
export class Leaving {
  readonly #req: NodeRequest
  readonly #res: NodeResponse
  readonly #gone = () => this.#leave()
  #controller: AbortController | undefined
  #isOver: boolean

  constructor(req: NodeRequest, res: NodeResponse) {
    this.#req = req
    this.#res = res
    this.#isOver = isGone(res)
    onGone(req, res, this.#gone)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#isOver) this.#controller.abort()
    return this.#controller.signal
  }

  dispose(): void {
    offGone(this.#req, this.#res, this.#gone)
  }

  #leave(): void {
    this.#isOver = true
    this.#controller?.abort()
  }
}

/** A class, for its getter: in a literal, that would give each a shape of its own, half a kilobyte that lives long. */
class NodeInquiry implements Inquiry {
  readonly method: string
  readonly lastEventId: string | undefined
  readonly query: URLSearchParams
  readonly #leaving: Leaving

  constructor(req: NodeRequest, leaving: Leaving) {
    const url = req.url ?? '/'
    const header = req.headers['last-event-id']
    this.method = req.method ?? 'GET'
    this.lastEventId = Array.isArray(header) ? header[0] : header
    this.query = new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?')) : '')
    this.#leaving = leaving
  }

  get signal(): AbortSignal {
    return this.#leaving.signal
  }
}

function sendHead(exchange: Exchange<unknown>, headers: Record<string, string>): void {
  const { req, takeOver } = exchange
  // Node's types leave methods out of HTTP/2's response; they are there.
  const res = exchange.res as ServerResponse
  const isHttp1 = req.httpVersionMajor === 1
  if (isHttp1 && res.getHeaderNames().length === 0) {
    takeOver?.()
    // Node keeps what was set for as long as the response lives: half a kilobyte. What is written at once, it does not.
    res.writeHead(200, { connection: 'keep-alive', ...headers })
  } else {
    setHead(exchange, 200, headers)
    if (isHttp1 && !res.hasHeader('connection')) res.setHeader('connection', 'keep-alive')
  }
  res.flushHeaders()
}

export function answer(exchange: Exchange<unknown>, { status, headers, body }: Omit<Answer, 'kind'>): void {
  const { req, res } = exchange
  if (isGone(res)) return
  setHead(exchange, status, headers)
  if (req.method === 'HEAD' || body === '') res.end()
  else res.end(body)
}

function setHead({ req, res, takeOver }: Exchange<unknown>, status: number, headers: Record<string, string>): void {
  takeOver?.()
  res.statusCode = status
  for (const [name, value] of Object.entries(headers)) {
    if (req.httpVersionMajor === 1 || !isHopByHop(name)) res.setHeader(name, value)
  }
}

/** Answers an error thrown before the head, or passes it on; after the head, there is only the end. */
export async function refuse(
  exchange: Exchange<unknown>,
  error: unknown,
  onError: ((error: unknown) => void) | undefined,
): Promise<void> {
  const { res } = exchange
  const cut = (why: unknown) => {
    reportTo(onError, why)
    res.destroy()
  }
  if (res.headersSent || isGone(res)) return cut(error)
  if (isResponse(error)) return sendResponse(exchange, error).catch(cut)
  const named = statusOf(error)
  if (!named) throw error
  answer(exchange, { ...named, body: '' })
}

async function sendResponse(exchange: Exchange<unknown>, response: Response): Promise<void> {
  const { res } = exchange
  const body = new Uint8Array(await response.arrayBuffer())
  const { 'set-cookie': _, ...headers } = Object.fromEntries(response.headers)
  setHead(exchange, response.status, headers)
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0) res.setHeader('set-cookie', [...cookiesOf(res), ...cookies])
  res.end(body)
}

/** The cookies that were set before. */
function cookiesOf(res: NodeResponse): string[] {
  const before = res.getHeader('set-cookie')
  return before === undefined ? [] : [before].flat().map(String)
}
