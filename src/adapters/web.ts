/**
 * Streams over the web's own `Request` and `Response`: edge runtimes, Bun, Deno, service workers, and every
 * framework with fetch-style handlers.
 *
 * @packageDocumentation
 */
import { Acknowledger } from '../server/acknowledge.js'
import type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
import type { Hub } from '../server/hub.js'
import type { MessageHandler, ReceiveOptions } from '../server/receive.js'
import { reportTo } from '../server/report.js'
import type { StreamOptions } from '../server/serve.js'
import { bridge, openDirect } from './web-bridge.js'
import { acknowledgeBridge, receiveBridge } from './web-receive.js'

export type { DirectConnection, DirectOptions, EventsOf, IterableOptions } from '../server/direct.js'
export type { MessageContext, MessageHandler, ReceiveOptions, Reply, TransactionalReply } from '../server/receive.js'
export type { HeaderChanges, ReplayChoice, StreamOptions } from '../server/serve.js'

/** A fetch-style handler. */
export type WebHandler = (request: Request) => Promise<Response>

/**
 * Serves streams of a hub, or, given a function, one response with events of its own.
 *
 * With a hub, nothing is answered before the stream is joined: what `stream` throws, a timeout, or a store that
 * is away becomes an ordinary status.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const handler = sse(hub, { stream: (request) => new URL(request.url).pathname.slice(1) })
 * export default { fetch: handler }
 * ```
 */
export function sse(hub: Hub, options: StreamOptions<Request>): WebHandler
export function sse(events: EventsOf<Request>, options?: IterableOptions): WebHandler
export function sse(what: Hub | EventsOf<Request>, options?: StreamOptions<Request> | IterableOptions): WebHandler {
  const handle = bridge(what, options)
  return (request) =>
    handle(request, request).catch((error: unknown) => {
      reportTo(options?.onError, error)
      return new Response(null, { status: 500 })
    })
}

/**
 * Opens a response that you write to yourself, with the head, the first frame, the heartbeats and the write
 * deadline in place. Return its `response`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const connection = await openSSE(request)
 * connection.send({ data: 'hello' }).then(() => connection.close())
 * return connection.response
 * ```
 */
export async function openSSE(
  request: Request,
  options: DirectOptions = {},
): Promise<DirectConnection & { readonly response: Response }> {
  const { connection, response } = openDirect(request, options)
  return Object.assign(connection, { response })
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
 * const save = receive(async (message: { text: string }) => ({ id: await insert(message.text) }))
 * export default { fetch: save }
 * ```
 */
export function receive<Message = unknown, Transaction = unknown>(
  handler: MessageHandler<Request, Message, Transaction>,
  options?: ReceiveOptions<Request, Transaction>,
): WebHandler {
  const handle = receiveBridge(handler, options)
  return (request) =>
    handle(request, request).catch((error: unknown) => {
      reportTo(options?.onError, error)
      return new Response(null, { status: 500 })
    })
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
 * const acks = acknowledge(hub)
 * export default { fetch: acks }
 * ```
 */
export function acknowledge(hub: Hub): WebHandler {
  const acknowledger = new Acknowledger(hub)
  const handle = acknowledgeBridge<Request>(acknowledger)
  return (request) =>
    handle(request, request).catch((error: unknown) => {
      reportTo(acknowledger.onError, error)
      return new Response(null, { status: 500 })
    })
}
