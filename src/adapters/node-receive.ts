import type { IncomingMessage } from 'node:http'
import type { Clock } from '../protocol/clock.js'
import type { Acknowledger } from '../server/acknowledge.js'
import type { Body, Incoming } from '../server/message.js'
import { type MessageHandler, type ReceiveOptions, Receiver } from '../server/receive.js'
import { type Answer, isResponse, statusOf } from '../server/serve.js'
import { answer, Leaving, type NodeBridge, type NodeRequest, refuse } from './node-bridge.js'
import { isGone } from './node-gone.js'

/**
 * The one way from a message in a request of Node's to its answer.
 *
 * @param bodyOf - what a parser in front of us left; by default the request's `body`.
 */
export function receiveBridge<Request, Message, Transaction>(
  handler: MessageHandler<Request, Message, Transaction>,
  options: ReceiveOptions<Request, Transaction> = {},
  bodyOf?: (request: Request) => Body | undefined,
): NodeBridge<Request> {
  return messageBridge(new Receiver(handler, options), options.onError, bodyOf)
}

/** The way from an acknowledgement to its answer; the same `bodyOf`. */
export function acknowledgeBridge<Request>(
  acknowledger: Acknowledger,
  bodyOf?: (request: Request) => Body | undefined,
): NodeBridge<Request> {
  return messageBridge(acknowledger, acknowledger.onError, bodyOf)
}

/** What answers messages, and the bounds of their bodies. */
interface Answering<Request> {
  readonly clock: Clock
  readonly bodyTimeoutMs: number
  answer(request: Request, incoming: Incoming): Promise<Answer>
}

function messageBridge<Request>(
  receiver: Answering<Request>,
  onError: ((error: unknown) => void) | undefined,
  bodyOf: ((request: Request) => Body | undefined) | undefined,
): NodeBridge<Request> {
  return async (exchange) => {
    const { request, req, res } = exchange
    const leaving = new Leaving(req, res)
    try {
      const body = bodyOf ? bodyOf(request) : parsedBody(req)
      const given = await receiver.answer(request, new NodeIncoming(req, leaving.signal, body, receiver))
      // Behind a body that stalls nothing can follow.
      const headers = given.status === 408 ? { ...given.headers, connection: 'close' } : given.headers
      answer(exchange, { ...given, headers })
    } catch (error) {
      // Nobody is left to be refused.
      if (isGone(res) && (isResponse(error) || statusOf(error))) return
      await refuse(exchange, error, onError)
    } finally {
      leaving.dispose()
    }
  }
}

/** What a parser like `express.json()` left: a string or bytes as they came, or the message. */
function parsedBody(req: NodeRequest): Body | undefined {
  const { body } = req as { body?: unknown }
  if (body === undefined) return undefined
  if (typeof body === 'string' || body instanceof Uint8Array) return { raw: body }
  // Some parsers leave this on requests that they did not read.
  const untouched = typeof body === 'object' && body !== null && Object.keys(body).length === 0 && !wasRead(req)
  return untouched ? undefined : { message: body }
}

function wasRead(req: NodeRequest): boolean {
  return req.readableDidRead || req.readableEnded
}

class NodeIncoming implements Incoming {
  readonly body: Body | undefined
  readonly signal: AbortSignal
  readonly #req: NodeRequest
  readonly #limits: Pick<Answering<unknown>, 'clock' | 'bodyTimeoutMs'>
  #leave: (() => void) | undefined

  constructor(
    req: NodeRequest,
    signal: AbortSignal,
    body: Body | undefined,
    limits: Pick<Answering<unknown>, 'clock' | 'bodyTimeoutMs'>,
  ) {
    this.#req = req
    this.signal = signal
    this.body = body
    this.#limits = limits
  }

  get method(): string {
    return this.#req.method ?? 'GET'
  }

  get consumed(): boolean {
    return wasRead(this.#req)
  }

  header(name: string): string | undefined {
    const value = this.#req.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  read(take: (bytes: Uint8Array) => void): Promise<void> {
    // The two classes share all that is used here; only their declared overloads differ.
    const req = this.#req as IncomingMessage
    return new Promise((resolve, reject) => {
      const data = (chunk: Uint8Array | string) => {
        try {
          take(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
        } catch (error) {
          broken(error)
        }
      }
      const end = () => {
        leave()
        resolve()
      }
      const broken = (error?: unknown) => {
        leave()
        reject(error)
      }
      const leave = () => req.off('data', data).off('end', end).off('error', broken).off('close', broken)
      this.#leave = broken
      req.on('data', data).on('end', end).on('error', broken).on('close', broken)
      req.resume()
      if (req.destroyed) broken()
    })
  }

  /**
   * The answer is sent at once. To close the connection right behind it would lose it on its way to a client that
   * is still sending, so what comes is thrown away, for as long as a body may take.
   */
  stop(): void {
    const req = this.#req
    this.#leave?.()
    if (req.readableEnded || req.destroyed) return
    // A request that was answered is not told when its socket closes.
    const carrier = 'stream' in req ? req.stream : req.socket
    const { clock, bodyTimeoutMs } = this.#limits
    const cancel = clock.setTimeout(() => carrier.destroy(), bodyTimeoutMs, false)
    const over = () => {
      cancel()
      req.off('end', over)
      carrier.off('close', over)
    }
    req.on('end', over)
    carrier.on('close', over)
    req.resume()
  }
}
