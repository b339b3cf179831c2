import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'

/** After the peer dies only `destroyed` tells; an HTTP/2 response says so through its stream. */
export function isGone(res: ServerResponse | Http2ServerResponse): boolean {
  if ('stream' in res) return res.stream === undefined || res.stream.destroyed
  return res.destroyed || res.socket?.destroyed === true
}

/** Calls `gone` when a response is over. On the response, for a request closes when its body was read. */
export function onGone(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  gone: () => void,
): void {
  res.on('close', gone)
  // A response that is queued behind another one on its connection has no socket yet, and when the connection
  // breaks it is never told.
  if (!('stream' in res) && !res.socket) onSocketGone(req.socket as Socket, gone)
}

/** Ends what `onGone` began. */
export function offGone(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  gone: () => void,
): void {
  res.off('close', gone)
  if (!('stream' in res)) queued.get(req.socket as Socket)?.delete(gone)
}

/** One listener serves all the responses that are queued on a socket. */
const queued = new WeakMap<Socket, Set<() => void>>()

function onSocketGone(socket: Socket, gone: () => void): void {
  if (socket.destroyed) queueMicrotask(gone)
  let all = queued.get(socket)
  if (!all) {
    const listeners = new Set<() => void>()
    all = listeners
    queued.set(socket, listeners)
    socket.once('close', () => {
      for (const listener of [...listeners]) listener()
    })
  }
  all.add(gone)
}
