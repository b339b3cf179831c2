/**
 * Streams in Hono 4, wherever it runs.
 *
 * @packageDocumentation
 */
import type { Context } from 'hono'
import { Acknowledger } from '../server/acknowledge.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import type { Body } from '../server/message.js'
import type { MessageHandler, ReceiveOptions } from '../server/receive.js'
import type { StreamOptions } from '../server/serve.js'
import { bridge, openDirect, type WebBridge } from './web-bridge.js'
import { acknowledgeBridge, receiveBridge } from './web-receive.js'

export type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
export type { MessageContext, MessageHandler, ReceiveOptions, Reply, TransactionalReply } from '../server/receive.js'
export type { HeaderChanges, ReplayChoice, StreamOptions } from '../server/serve.js'

/** A handler of a route. */
export type HonoHandler<C extends Context> = (c: C) => Promise<Response>

/**
 * Serves streams of a hub, or, given a function, one response with events of its own. Both are given Hono's
 * context.
 *
 * What is thrown before the head, and is neither a `Response` nor an error with a status, goes to `app.onError`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.get('/rooms/:id', sse(hub, { stream: (c) => `room:${c.req.param('id')}` }))
 * ```
 */
export function sse<C extends Context = Context>(hub: Hub, options: StreamOptions<C>): HonoHandler<C>
export function sse<C extends Context = Context>(events: EventsOf<C>, options?: IterableOptions): HonoHandler<C>
export function sse<C extends Context>(
  what: Hub | EventsOf<C>,
  options?: StreamOptions<C> | IterableOptions,
): HonoHandler<C> {
  return edge(bridge(what, options), 'The handler of a stream threw')
}

/**
 * Opens a response that you write to yourself, with the head, the first frame, the heartbeats and the write
 * deadline in place. Return its `response`.
 *
 * @throws TypeError when an option is not what it should be.
 */
export async function openSSE(
  c: Context,
  options: DirectOptions = {},
): Promise<DirectConnection & { readonly response: Response }> {
  const { connection, response } = openDirect(c.req.raw, options)
  return Object.assign(connection, { response: withHeadersOf(c, response) })
}

/** The response with what middleware set before; where both set a field, the response's stands, and cookies add up. */
function withHeadersOf(c: Context, response: Response): Response {
  // On the context's own, for Hono copies them over the headers of what a handler returns.
  const { headers } = c.res
  for (const [name, value] of response.headers) {
    if (name === 'set-cookie') headers.append(name, value)
    else headers.set(name, value)
  }
  return new Response(response.body, { status: response.status, headers })
}

/**
 * Receives messages by POST, each handled once per `scope` and `Idempotency-Key`: a repetition gets the same answer,
 * with `Idempotency-Replayed: true`, and the handler is not run again.
 *
 * A body that middleware has read through `c.req` is read once more from there. What is thrown, and is neither a
 * `Response` nor an error with a status, goes to `app.onError`. All else is as in `receive` of `steady-sse/web`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.post('/rooms/:id', receive(async (message, { request: c }) => ({ id: await save(c.req.param('id'), message) })))
 * ```
 */
export function receive<C extends Context = Context, Message = unknown, Transaction = unknown>(
  handler: MessageHandler<C, Message, Transaction>,
  options?: ReceiveOptions<C, Transaction>,
): HonoHandler<C> {
  return edge(receiveBridge(handler, options, bodyRead<C>), 'The handler of a message threw')
}

/**
 * Takes what clients acknowledge: mount it where the client's option `acks` points. `hub.delivery` shows it, and
 * the hub's `onUndelivered` tells when it stays out.
 *
 * Answers: 204; 404 when this process has no such connection (any more); 400 malformed; 405 no POST; 408 too slow;
 * 413 too large; 415 neither JSON nor text.
 *
 * @throws TypeError when it is not given a hub.
 * @example
 * ```ts
 * app.post('/acks', acknowledge(hub))
 * ```
 */
export function acknowledge<C extends Context = Context>(hub: Hub): HonoHandler<C> {
  return edge(acknowledgeBridge(new Acknowledger(hub), bodyRead<C>), 'The handler of an acknowledgement threw')
}

/** What middleware has read through `c.req` can be read once more from there. */
async function bodyRead<C extends Context>({ req }: C): Promise<Body | undefined> {
  return req.raw.bodyUsed ? { raw: new Uint8Array(await req.arrayBuffer()) } : undefined
}

function edge<C extends Context>(handle: WebBridge<C>, told: string): HonoHandler<C> {
  return async (c) => {
    try {
      return withHeadersOf(c, await handle(c, c.req.raw))
    } catch (error) {
      // What is no Error would pass by `app.onError`.
      throw error instanceof Error ? error : new Error(told, { cause: error })
    }
  }
}
