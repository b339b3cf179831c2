import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import { chunkOf } from '../server/chunk.js'
import type { Sink, SinkListener } from '../server/sink.js'
import { isGone, offGone, onGone } from './node-gone.js'

/** A response of Node's whose head was sent. There are many of them, and most are idle: it holds little, and listens little. */
export class NodeSink implements Sink {
  readonly #res: ServerResponse
  readonly #req: IncomingMessage | Http2ServerRequest
  readonly #socket: Socket | undefined
  /** Bound, which is half the size of a closure and what it closes over. */
  readonly #gone = this.#over.bind(this)
  #listener: SinkListener | undefined
  #drained: (() => void) | undefined

  constructor(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse) {
    this.#req = req
    // The two classes share all that is used here; only their declared overloads differ.
    this.#res = res as ServerResponse
    this.#socket = socketOf(this.#res)
  }

  bind(listener: SinkListener): void {
    const res = this.#res
    this.#listener = listener
    // Without a listener, an error of a dying socket would end the process; `close` follows it.
    res.on('error', ignore)
    onGone(this.#req, res, this.#gone)
    if (isGone(res)) listener.closed()
  }

  write(bytes: Uint8Array, chunk?: Uint8Array): boolean {
    let room: boolean
    if (this.#socket) room = this.#socket.write(chunk ?? chunkOf(bytes))
    else {
      room = this.#res.write(bytes)
      flush(this.#res)
    }
    if (!room) this.#awaitDrain()
    return room
  }

  end(): void {
    this.#res.end()
  }

  destroy(): void {
    this.#res.destroy()
  }

  /** Most connections never fill up. */
  #awaitDrain(): void {
    const listener = this.#listener
    if (this.#drained || !listener) return
    this.#drained = () => listener.drained()
    // Whoever is written to says when there is room.
    const target = this.#socket ?? this.#res
    target.on('drain', this.#drained)
  }

  #over(): void {
    offGone(this.#req, this.#res, this.#gone)
    if (this.#drained) {
      const target = this.#socket ?? this.#res
      target.off('drain', this.#drained)
    }
    this.#listener?.closed()
  }
}

function ignore(): void {}

/**
 * The socket of a response, if chunks may be written to it past the response: a quarter less work for each write. Only
 * where that is what the response would do with them: chunked, its head on the way, its methods its own.
 */
function socketOf(res: ServerResponse): Socket | undefined {
  const { write, end } = ServerResponse.prototype
  // A response of HTTP/2 has methods of its own, too.
  const isUnchanged = res.write === write && res.end === end
  // `headersSent` is true before the head has left; the chunked encoding is settled only once it was made.
  if (!isUnchanged || !res.headersSent || !res.chunkedEncoding) return undefined
  // Behind another response of its connection, it has no socket yet.
  return res.socket ?? undefined
}

/** Sends what a compressing middleware would hold back of a small write. */
function flush(res: object): void {
  // Its own: what Node's responses inherit by that name is deprecated, and warns.
  if (!Object.hasOwn(res, 'flush')) return
  const { flush } = res as { flush?: unknown }
  if (typeof flush === 'function') flush.call(res)
}
