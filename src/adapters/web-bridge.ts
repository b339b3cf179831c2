import {
  type DirectConnection,
  type DirectOptions,
  DirectServer,
  type EventsOf,
  type IterableOptions,
  pour,
  type Started,
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
  type Opening,
  type StreamOptions,
  serve,
  statusOf,
} from '../server/serve.js'
import { isHopByHop } from './hop-by-hop.js'
import { WebSink } from './web-sink.js'

/** Answers one request. Rejects with what is neither a `Response` nor an error with a status. */
export type WebBridge<Context> = (context: Context, request: Request) => Promise<Response>

/** The one way from a `Request` to a `Response`. `Context` is what the framework hands out. */
export function bridge<Context>(
  what: Hub | EventsOf<Context>,
  options?: StreamOptions<Context> | IterableOptions,
): WebBridge<Context> {
  const handle =
    typeof what === 'function'
      ? iterableBridge(what, options as IterableOptions)
      : hubBridge(what, options as StreamOptions<Context>)
  return (context, request) => handle(context, request).catch(refusal)
}

/** A response that its user writes to. */
export function openDirect(
  request: Request,
  options: DirectOptions,
): { connection: DirectConnection; response: Response } {
  const server = new DirectServer(options)
  const sink = new WebSink(request)
  const connection = server.open(sink)
  if (request.method === 'HEAD') connection.close()
  return { connection, response: new Response(sink.readable, { headers: endToEnd(server.headers) }) }
}

function hubBridge<Context>(hub: Hub, options: StreamOptions<Context>): WebBridge<Context> {
  checkStreamOptions(options)
  return async (context, request) => {
    let plan: Answer | Opening
    try {
      plan = await serve(hub, context, inquire(request), options)
    } catch (error) {
      if (request.signal.aborted) return gone()
      throw error
    }
    if (plan.kind === 'answer') {
      return new Response(plan.body === '' ? null : plan.body, { status: plan.status, headers: endToEnd(plan.headers) })
    }
    if (request.signal.aborted) {
      plan.abandon()
      return gone()
    }
    const sink = new WebSink(request)
    plan.start(sink)
    return new Response(sink.readable, { headers: endToEnd(plan.headers) })
  }
}

/** What a `Response` may carry: the rest is the server's, which alone knows its HTTP. */
function endToEnd(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isHopByHop(name)))
}

/** The client left before the head: nobody reads this. */
function gone(): Response {
  return new Response(null, { status: 499 })
}

function iterableBridge<Context>(events: EventsOf<Context>, options: IterableOptions = {}): WebBridge<Context> {
  const server = new DirectServer(options)
  return async (context, request) => {
    if (request.method === 'HEAD') return new Response(null, { headers: endToEnd(server.headers) })
    const leaving = new AbortController()
    const leave = () => leaving.abort()
    request.signal.addEventListener('abort', leave, { once: true })
    if (request.signal.aborted) leave()
    let started: Started
    try {
      started = await startIterable(
        await events(context, { signal: leaving.signal, lastEventId: cursorOf(inquire(request)) }),
      )
    } finally {
      // From here on the connection knows, which hears of a cancelled body too.
      request.signal.removeEventListener('abort', leave)
    }
    const sink = new WebSink(request)
    const connection = server.open(sink)
    connection.signal.addEventListener('abort', leave, { once: true })
    if (connection.signal.aborted) leave()
    pour(started, connection, options).catch((error: unknown) => reportTo(options.onError, error))
    return new Response(sink.readable, { headers: endToEnd(server.headers) })
  }
}

function inquire(request: Request): Inquiry {
  return {
    method: request.method,
    lastEventId: request.headers.get('last-event-id') ?? undefined,
    query: new URL(request.url).searchParams,
    signal: request.signal,
  }
}

/** Answers an error thrown before the head, or passes it on. */
export function refusal(error: unknown): Response {
  if (isResponse(error)) return error
  const named = statusOf(error)
  if (!named) throw error
  return responseIn(error) ?? new Response(null, named)
}

/** The response that an error brings along, as Hono's `HTTPException` does. */
function responseIn(error: unknown): Response | undefined {
  const { getResponse } = error as { getResponse?: unknown }
  const response: unknown = typeof getResponse === 'function' ? getResponse.call(error) : undefined
  return isResponse(response) ? response : undefined
}
