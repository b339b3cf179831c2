import type { Acknowledger } from '../server/acknowledge.js'
import type { Body, Incoming } from '../server/message.js'
import { type MessageHandler, type ReceiveOptions, Receiver } from '../server/receive.js'
import type { Answer } from '../server/serve.js'
import { refusal, type WebBridge } from './web-bridge.js'

/**
 * The one way from a message in a `Request` to its `Response`.
 *
 * @param bodyOf - what is known of a body that was read before.
 */
export function receiveBridge<Context, Message, Transaction>(
  handler: MessageHandler<Context, Message, Transaction>,
  options: ReceiveOptions<Context, Transaction> = {},
  bodyOf?: (context: Context) => Promise<Body | undefined>,
): WebBridge<Context> {
  return messageBridge(new Receiver(handler, options), bodyOf)
}

/** The way from an acknowledgement to its answer; the same `bodyOf`. */
export function acknowledgeBridge<Context>(
  acknowledger: Acknowledger,
  bodyOf?: (context: Context) => Promise<Body | undefined>,
): WebBridge<Context> {
  return messageBridge(acknowledger, bodyOf)
}

function messageBridge<Context>(
  receiver: { answer(request: Context, incoming: Incoming): Promise<Answer> },
  bodyOf: ((context: Context) => Promise<Body | undefined>) | undefined,
): WebBridge<Context> {
  return async (context, request) => {
    try {
      const incoming = new WebIncoming(request, await bodyOf?.(context))
      const { status, headers, body } = await receiver.answer(context, incoming)
      return new Response(body === '' ? null : body, { status, headers })
    } catch (error) {
      return refusal(error)
    }
  }
}

class WebIncoming implements Incoming {
  readonly body: Body | undefined
  readonly #request: Request
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined

  constructor(request: Request, body: Body | undefined) {
    this.#request = request
    this.body = body
  }

  get method(): string {
    return this.#request.method
  }

  get signal(): AbortSignal {
    return this.#request.signal
  }

  get consumed(): boolean {
    return this.#request.bodyUsed || this.#request.body?.locked === true
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined
  }

  async read(take: (bytes: Uint8Array) => void): Promise<void> {
    const reader = this.#request.body?.getReader()
    this.#reader = reader
    while (reader) {
      const { done, value } = await reader.read()
      if (done) return
      take(value)
    }
  }

  stop(): void {
    const body = this.#reader ?? this.#request.body
    // Rejects where the body is somebody else's.
    body?.cancel().catch(() => {})
  }
}
