import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Sink, SinkListener } from '../server/sink.js'
import { isGone, onGone } from './node-gone.js'

/** A response of Node's whose head was sent. */
export class NodeSink implements Sink {
  readonly #res: ServerResponse
  readonly #req: IncomingMessage | Http2ServerRequest
  readonly #flush: (() => void) | undefined

  constructor(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse) {
    this.#req = req
    // The two classes share all that is used here; only their declared overloads differ.
    this.#res = res as ServerResponse
    this.#flush = flushOf(res)
  }

  bind(listener: SinkListener): void {
    const res = this.#res
    const drained = () => listener.drained()
    res.on('drain', drained)
    // Without a listener, an error of a dying socket would end the process; `close` follows it.
    res.on('error', () => {})
    const forget = onGone(this.#req, res, () => {
      forget()
      res.off('drain', drained)
      listener.closed()
    })
    if (isGone(res)) listener.closed()
  }

  write(bytes: Uint8Array): boolean {
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

/** What a compressing middleware adds to a response, without which it holds small writes back. */
function flushOf(res: object): (() => void) | undefined {
  // Its own: what Node's responses inherit by that name is deprecated, and warns.
  if (!Object.hasOwn(res, 'flush')) return undefined
  const { flush } = res as { flush?: unknown }
  return typeof flush === 'function' ? () => void flush.call(res) : undefined
}
