/**
 * Streams in Fastify 5.
 *
 * @packageDocumentation
 */
import type { FastifyReply, FastifyRequest, RawServerBase, RawServerDefault, RouteGenericInterface } from 'fastify'
import { Acknowledger } from '../server/acknowledge.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import type { Body } from '../server/message.js'
import type { MessageHandler, ReceiveOptions } from '../server/receive.js'
import type { StreamOptions } from '../server/serve.js'
import { bridge, type Exchange, type NodeBridge, openDirect } from './node-bridge.js'
import { acknowledgeBridge, receiveBridge } from './node-receive.js'

export type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
export type { MessageContext, MessageHandler, ReceiveOptions, Reply, TransactionalReply } from '../server/receive.js'
export type { HeaderChanges, ReplayChoice, StreamOptions } from '../server/serve.js'

/** A handler of a route. */
export type FastifyHandler<Route extends RouteGenericInterface, Server extends RawServerBase> = (
  request: FastifyRequest<Route, Server>,
  reply: FastifyReply<Route, Server>,
) => Promise<void>

/**
 * Serves streams of a hub, or, given a function, one response with events of its own. Both are given Fastify's
 * request.
 *
 * The reply is hijacked once the stream is joined, with the headers that were set on it. What is thrown before
 * that, and is neither a `Response` nor an error with a status, goes to Fastify's error handler.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.get<{ Params: { id: string } }>('/rooms/:id', sse(hub, { stream: (request) => `room:${request.params.id}` }))
 * ```
 */
export function sse<
  Route extends RouteGenericInterface = RouteGenericInterface,
  Server extends RawServerBase = RawServerDefault,
>(hub: Hub, options: StreamOptions<FastifyRequest<Route, Server>>): FastifyHandler<Route, Server>
export function sse<
  Route extends RouteGenericInterface = RouteGenericInterface,
  Server extends RawServerBase = RawServerDefault,
>(events: EventsOf<FastifyRequest<Route, Server>>, options?: IterableOptions): FastifyHandler<Route, Server>
export function sse<Route extends RouteGenericInterface, Server extends RawServerBase>(
  what: Hub | EventsOf<FastifyRequest<Route, Server>>,
  options?: StreamOptions<FastifyRequest<Route, Server>> | IterableOptions,
): FastifyHandler<Route, Server> {
  return edge(bridge(what, options))
}

function edge<Route extends RouteGenericInterface, Server extends RawServerBase>(
  handle: NodeBridge<FastifyRequest<Route, Server>>,
): FastifyHandler<Route, Server> {
  return async (request, reply) => {
    await handle(exchange(request, reply))
    // Nothing was written when the client left before: Fastify must not answer either.
    reply.hijack()
  }
}

/**
 * Opens a response that you write to yourself, with the head, the first frame, the heartbeats and the write
 * deadline in place.
 *
 * @throws TypeError when an option is not what it should be.
 */
export async function openSSE<Route extends RouteGenericInterface, Server extends RawServerBase>(
  request: FastifyRequest<Route, Server>,
  reply: FastifyReply<Route, Server>,
  options: DirectOptions = {},
): Promise<DirectConnection> {
  return openDirect(exchange(request, reply), options)
}

function exchange<Request extends FastifyRequest<RouteGenericInterface, RawServerBase>>(
  request: Request,
  reply: FastifyReply<RouteGenericInterface, RawServerBase>,
): Exchange<Request> {
  const res = reply.raw
  return {
    request,
    req: request.raw,
    res,
    takeOver() {
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) res.setHeader(name, value)
      }
      reply.hijack()
    },
  }
}

/**
 * Receives messages by POST, each handled once per `scope` and `Idempotency-Key`: a repetition gets the same answer,
 * with `Idempotency-Replayed: true`, and the handler is not run again.
 *
 * The body is what Fastify's content type parsers made of it, and they refuse what they cannot read. What is thrown,
 * and is neither a `Response` nor an error with a status, goes to Fastify's error handler. All else is as in `receive`
 * of `steady-sse/node`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.post('/messages', receive(async (message: { text: string }) => ({ id: await save(message) })))
 * ```
 */
export function receive<
  Route extends RouteGenericInterface = RouteGenericInterface,
  Server extends RawServerBase = RawServerDefault,
  Message = unknown,
  Transaction = unknown,
>(
  handler: MessageHandler<FastifyRequest<Route, Server>, Message, Transaction>,
  options?: ReceiveOptions<FastifyRequest<Route, Server>, Transaction>,
): FastifyHandler<Route, Server> {
  return edge(receiveBridge(handler, options, parsedBody))
}

function parsedBody({ body, headers }: FastifyRequest<RouteGenericInterface, RawServerBase>): Body | undefined {
  if (body === undefined) return undefined
  // The JSON parser leaves strings too, as messages.
  const isText = typeof body === 'string' && !/json/i.test(headers['content-type'] ?? '')
  return isText || body instanceof Uint8Array ? { raw: body } : { message: body }
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
export function acknowledge<
  Route extends RouteGenericInterface = RouteGenericInterface,
  Server extends RawServerBase = RawServerDefault,
>(hub: Hub): FastifyHandler<Route, Server> {
  return edge(acknowledgeBridge<FastifyRequest<Route, Server>>(new Acknowledger(hub), parsedBody))
}
