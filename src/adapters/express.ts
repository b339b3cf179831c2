/**
 * Streams in Express 5.
 *
 * @packageDocumentation
 */
import type { Request, RequestHandler, Response } from 'express'
import { Acknowledger } from '../server/acknowledge.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import type { MessageHandler, ReceiveOptions } from '../server/receive.js'
import type { StreamOptions } from '../server/serve.js'
import { bridge, type NodeBridge, openDirect } from './node-bridge.js'
import { acknowledgeBridge, receiveBridge } from './node-receive.js'

export type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
export type { MessageContext, MessageHandler, ReceiveOptions, Reply, TransactionalReply } from '../server/receive.js'
export type { HeaderChanges, ReplayChoice, StreamOptions } from '../server/serve.js'

/**
 * Serves streams of a hub, or, given a function, one response with events of its own. Both are given Express's
 * request.
 *
 * What is thrown before the head, and is neither a `Response` nor an error with a status, goes to `next`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.get('/rooms/:id', sse(hub, { stream: (request) => `room:${request.params.id}` }))
 * ```
 */
export function sse<Params = Request['params']>(
  hub: Hub,
  options: StreamOptions<Request<Params>>,
): RequestHandler<Params>
export function sse<Params = Request['params']>(
  events: EventsOf<Request<Params>>,
  options?: IterableOptions,
): RequestHandler<Params>
export function sse<Params>(
  what: Hub | EventsOf<Request<Params>>,
  options?: StreamOptions<Request<Params>> | IterableOptions,
): RequestHandler<Params> {
  return edge(bridge(what, options), 'The handler of a stream threw')
}

/**
 * Opens a response that you write to yourself, with the head, the first frame, the heartbeats and the write
 * deadline in place.
 *
 * @throws TypeError when an option is not what it should be.
 */
export async function openSSE(
  request: Request,
  response: Response,
  options: DirectOptions = {},
): Promise<DirectConnection> {
  return openDirect({ request, req: request, res: response }, options)
}

/**
 * Receives messages by POST, each handled once per `scope` and `Idempotency-Key`: a repetition gets the same answer,
 * with `Idempotency-Replayed: true`, and the handler is not run again.
 *
 * A body that `express.json()` or `express.text()` has read is used as they left it. What is thrown, and is neither
 * a `Response` nor an error with a status, goes to `next`. All else is as in `receive` of `steady-sse/node`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * app.post('/rooms/:id', receive(async (message, { request }) => ({ id: await save(request.params.id, message) })))
 * ```
 */
export function receive<Params = Request['params'], Message = unknown, Transaction = unknown>(
  handler: MessageHandler<Request<Params>, Message, Transaction>,
  options?: ReceiveOptions<Request<Params>, Transaction>,
): RequestHandler<Params> {
  return edge(receiveBridge(handler, options), 'The handler of a message threw')
}

function edge<Params>(handle: NodeBridge<Request<Params>>, told: string): RequestHandler<Params> {
  return (req, res, next) => {
    handle({ request: req, req, res }).catch((error: unknown) => {
      // To `next`, nothing is success and a string may be the name of a way out.
      next(error instanceof Error ? error : new Error(told, { cause: error }))
    })
  }
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
export function acknowledge(hub: Hub): RequestHandler {
  return edge(acknowledgeBridge<Request>(new Acknowledger(hub)), 'The handler of an acknowledgement threw')
}
