import { nextTurn } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { Sink, SinkListener } from '../server/sink.js'

const HIGH_WATER_BYTES = 64 * 1024

/** The body of a `Response`. */
export class WebSink implements Sink {
  readonly readable: ReadableStream<Uint8Array>
  /** Held, for its signal follows the client only as long as somebody holds the request. */
  readonly #request: Request
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #listener: SinkListener | undefined
  #closed = false

  constructor(request: Request) {
    this.#request = request
    this.readable = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#listener?.drained(),
        // The signal of record: on some runtimes the request's own never fires.
        cancel: () => this.#over(),
      },
      { highWaterMark: HIGH_WATER_BYTES, size: (chunk) => chunk.byteLength },
    )
  }

  bind(listener: SinkListener): void {
    this.#listener = listener
    this.#request.signal.addEventListener('abort', this.#aborted, { once: true })
    if (this.#request.signal.aborted) this.#aborted()
    else if (this.#closed) listener.closed()
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed) return false
    // A copy: who reads may transfer the buffer away, and these bytes belong to all readers of the stream.
    this.#controller?.enqueue(new Uint8Array(bytes))
    return (this.#controller?.desiredSize ?? 0) > 0
  }

  end(): void {
    if (this.#closed) return
    this.#controller?.close()
    this.#over()
  }

  destroy(): void {
    if (this.#closed) return
    this.#controller?.error(new SseError('CLOSED', 'The server cut this response off.'))
    this.#over()
  }

  readonly #aborted = () => {
    // A server that cancels the body of a client that left is given its turn: a body that fails, it would log.
    if (!this.#closed) nextTurn(() => this.#controller?.error(this.#request.signal.reason))
    this.#over()
  }

  #over(): void {
    if (this.#closed) return
    this.#closed = true
    this.#request.signal.removeEventListener('abort', this.#aborted)
    this.#listener?.closed()
  }
}
