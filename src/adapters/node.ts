/**
 * Streams over `node:http`, `node:https` and `node:http2`.
 *
 * @packageDocumentation
 */
import { Acknowledger } from '../server/acknowledge.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import type { MessageHandler, ReceiveOptions } from '../server/receive.js'
import { reportTo } from '../server/report.js'
import type { StreamOptions } from '../server/serve.js'
import { bridge, type NodeRequest, type NodeResponse, openDirect } from './node-bridge.js'
import { acknowledgeBridge, receiveBridge } from './node-receive.js'

export type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
export type { MessageContext, MessageHandler, ReceiveOptions, Reply, TransactionalReply } from '../server/receive.js'
export type { HeaderChanges, ReplayChoice, StreamOptions } from '../server/serve.js'
export type { NodeRequest, NodeResponse } from './node-bridge.js'

/** A listener for `http.createServer` and its kin. */
export type NodeHandler = (req: NodeRequest, res: NodeResponse) => void

/**
 * Serves streams of a hub, or, given a function, one response with events of its own.
 *
 * With a hub, nothing is answered before the stream is joined: what `stream` throws, a timeout, or a store that
 * is away becomes an ordinary status.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * http.createServer(sse(hub, { stream: () => 'news' })).listen(3000)
 * http.createServer(sse(async function* () { yield { data: 'hello' } })).listen(3001)
 * ```
 */
export function sse(hub: Hub, options: StreamOptions<NodeRequest>): NodeHandler
export function sse(events: EventsOf<NodeRequest>, options?: IterableOptions): NodeHandler
export function sse(
  what: Hub | EventsOf<NodeRequest>,
  options?: StreamOptions<NodeRequest> | IterableOptions,
): NodeHandler {
  const handle = bridge(what, options)
  return (req, res) => {
    handle({ request: req, req, res }).catch((error: unknown) => {
      reportTo(options?.onError, error)
      res.statusCode = 500
      res.end()
    })
  }
}

/**
 * Opens a response that you write to yourself, with the head, the first frame, the heartbeats and the write
 * deadline in place.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const connection = await openSSE(req, res)
 * await connection.send({ data: 'hello' })
 * connection.close()
 * ```
 */
export async function openSSE(
  req: NodeRequest,
  res: NodeResponse,
  options: DirectOptions = {},
): Promise<DirectConnection> {
  return openDirect({ request: req, req, res }, options)
}

/**
 * Receives messages by POST, each handled once per `scope` and `Idempotency-Key`: a repetition gets the same answer,
 * with `Idempotency-Replayed: true`, and the handler is not run again.
 *
 * What the handler returns is sent as JSON with a 200, nothing as a 204, and is remembered. What it throws is not:
 * the key is free again, whatever the status. A `Response` is sent as it is, an error with `status` or `statusCode`
 * 400–599 gives that status, anything else is an empty 500.
 *
 * Other answers: 400 without a good key, or malformed; 405 no POST; 408 `bodyTimeoutMs`; 409 with `Retry-After`
 * while the key is being handled; 413 `maxBodyBytes`; 415 neither JSON nor text; 422 the key was used with another
 * body; 503 with `Retry-After` when the receipts are full or away.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * createServer(receive(async (message: { text: string }) => ({ id: await save(message) }))).listen(3000)
 * ```
 */
export function receive<Message = unknown, Transaction = unknown>(
  handler: MessageHandler<NodeRequest, Message, Transaction>,
  options?: ReceiveOptions<NodeRequest, Transaction>,
): NodeHandler {
  const handle = receiveBridge(handler, options)
  return (req, res) => {
    handle({ request: req, req, res }).catch((error: unknown) => {
      reportTo(options?.onError, error)
      res.statusCode = 500
      res.end()
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
 * createServer(acknowledge(hub)).listen(3001)
 * ```
 */
export function acknowledge(hub: Hub): NodeHandler {
  const acknowledger = new Acknowledger(hub)
  const handle = acknowledgeBridge<NodeRequest>(acknowledger)
  return (req, res) => {
    handle({ request: req, req, res }).catch((error: unknown) => {
      reportTo(acknowledger.onError, error)
      res.statusCode = 500
      res.end()
    })
  }
}
