import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import { chunkOf } from '../server/chunk.js'
import type { Sink, SinkListener } from '../server/sink.js'
import { isGone, onGone } from './node-gone.js'

/** A response of Node's whose head was sent. */
export class NodeSink implements Sink {
  readonly #res: ServerResponse
  readonly #req: IncomingMessage | Http2ServerRequest
  readonly #flush: (() => void) | undefined
  readonly #socket: Socket | undefined

  constructor(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse) {
    this.#req = req
    // The two classes share all that is used here; only their declared overloads differ.
    this.#res = res as ServerResponse
    this.#flush = flushOf(res)
    this.#socket = socketOf(this.#res)
  }

  bind(listener: SinkListener): void {
    const res = this.#res
    const socket = this.#socket
    const drained = () => listener.drained()
    // Whoever is written to says when there is room.
    if (socket) socket.on('drain', drained)
    else res.on('drain', drained)
    // Without a listener, an error of a dying socket would end the process; `close` follows it.
    res.on('error', ignore)
    const forget = onGone(this.#req, res, () => {
      forget()
      if (socket) socket.off('drain', drained)
      else res.off('drain', drained)
      listener.closed()
    })
    if (isGone(res)) listener.closed()
  }

  write(bytes: Uint8Array, chunk?: Uint8Array): boolean {
    if (this.#socket) return this.#socket.write(chunk ?? chunkOf(bytes))
    const room = this.#res.write(bytes)
    this.#flush?.()
    return room
  }

  end(): void {
    this.#res.end()
  }

  destroy(): void {
    this.#res.destroy()
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

/** What a compressing middleware adds to a response, without which it holds small writes back. */
function flushOf(res: object): (() => void) | undefined {
  // Its own: what Node's responses inherit by that name is deprecated, and warns.
  if (!Object.hasOwn(res, 'flush')) return undefined
  const { flush } = res as { flush?: unknown }
  return typeof flush === 'function' ? () => void flush.call(res) : undefined
}
