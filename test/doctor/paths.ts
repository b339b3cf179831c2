import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import zlib from 'node:zlib'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'

/** A server on a free port of this machine. Disposing it cuts what is open. */
export interface Place extends AsyncDisposable {
  readonly port: number
  readonly url: string
}

/** Half of it is what a frame may be late: more than a busy machine is. */
export const HEARTBEAT_MS = 800

export async function serve(listener: RequestListener): Promise<Place> {
  const server = http.createServer(listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}/events`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** A stream of this library, with nothing but heartbeats in it. */
export async function serveHub(heartbeatMs = HEARTBEAT_MS): Promise<Place> {
  const hub = createHub({ store: memoryStore(), heartbeatMs })
  const place = await serve(sse(hub, { stream: () => 's' }))
  return {
    ...place,
    async [Symbol.asyncDispose]() {
      await hub.close({ graceMs: 1 })
      await place[Symbol.asyncDispose]()
    },
  }
}

/** A stream as others write it: no first frame, no times, and an event now and then. */
export function serveForeign(
  everyMs: number,
  data = 'x'.repeat(40),
  head: http.OutgoingHttpHeaders = {},
): Promise<Place> {
  return serve((_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', ...head })
    res.flushHeaders()
    let n = 0
    const timer = setInterval(() => res.write(`id: ${++n}\ndata: ${data}\n\n`), everyMs)
    res.on('close', () => clearInterval(timer))
  })
}

/** What a relay does with the response that it was given. */
export type Relaying = (from: IncomingMessage, to: ServerResponse) => void

/** A proxy in front of a server. */
export function relay(to: Place, relaying: Relaying): Promise<Place> {
  return serve((req, res) => {
    const asked = http.request({ port: to.port, host: '127.0.0.1', path: req.url, headers: req.headers }, (from) =>
      relaying(from, res),
    )
    asked.on('error', () => res.destroy())
    res.on('close', () => asked.destroy())
    asked.end()
  })
}

export function passHead(from: IncomingMessage, to: ServerResponse, changes: http.OutgoingHttpHeaders = {}): void {
  const { connection: _, 'transfer-encoding': __, ...headers } = from.headers
  const kept = Object.entries({ ...headers, ...changes }).filter(([, value]) => value !== undefined)
  to.writeHead(from.statusCode ?? 502, Object.fromEntries(kept))
  to.flushHeaders()
}

export const passing: Relaying = (from, to) => {
  passHead(from, to)
  from.pipe(to)
}

/** Head and body, when all of it is there. */
export const untilEnd: Relaying = (from, to) => {
  const kept: Buffer[] = []
  from.on('data', (bytes: Buffer) => kept.push(bytes))
  from.on('end', () => {
    passHead(from, to, { 'content-length': Buffer.concat(kept).length })
    to.end(Buffer.concat(kept))
  })
}

/** Whenever a buffer is full. */
export const bySize =
  (size: number): Relaying =>
  (from, to) => {
    passHead(from, to)
    let kept = Buffer.alloc(0)
    from.on('data', (bytes: Buffer) => {
      kept = Buffer.concat([kept, bytes])
      while (kept.length >= size) {
        to.write(kept.subarray(0, size))
        kept = kept.subarray(size)
      }
    })
    from.on('end', () => to.end(kept))
  }

/** What came, once in a while. */
export const byTime =
  (everyMs: number): Relaying =>
  (from, to) => {
    passHead(from, to)
    let kept: Buffer[] = []
    from.on('data', (bytes: Buffer) => kept.push(bytes))
    const timer = setInterval(() => {
      if (kept.length > 0) to.write(Buffer.concat(kept))
      kept = []
    }, everyMs)
    to.on('close', () => clearInterval(timer))
  }

/** Each piece when the next one comes. */
export const oneBehind: Relaying = (from, to) => {
  passHead(from, to)
  let last: Buffer | undefined
  from.on('data', (bytes: Buffer) => {
    if (last) to.write(last)
    last = bytes
  })
  from.on('end', () => to.end(last))
}

export const delayed =
  (ms: number): Relaying =>
  (from, to) => {
    passHead(from, to)
    from.on('data', (bytes: Buffer) => setTimeout(() => to.write(bytes), ms))
  }

/** Compresses for who accepts it; `flush` says whether each piece is sent on. */
export const gzipping =
  (flush: boolean): Relaying =>
  (from, to) => {
    if (!/gzip/.test(to.req.headers['accept-encoding'] ?? '')) return passing(from, to)
    passHead(from, to, { 'content-encoding': 'gzip' })
    const gzip = zlib.createGzip(flush ? { flush: zlib.constants.Z_SYNC_FLUSH } : {})
    from.pipe(gzip).pipe(to)
  }

export const stripping =
  (...names: string[]): Relaying =>
  (from, to) => {
    passHead(from, to, Object.fromEntries(names.map((name) => [name, undefined])))
    from.pipe(to)
  }

/** Cuts when nothing came for so long. */
export const impatient =
  (ms: number, how: 'cut' | 'end' = 'cut'): Relaying =>
  (from, to) => {
    passHead(from, to)
    const give = () => void (how === 'cut' ? to.destroy() : to.end())
    let timer = setTimeout(give, ms)
    from.on('data', (bytes: Buffer) => {
      to.write(bytes)
      clearTimeout(timer)
      timer = setTimeout(give, ms)
    })
    to.on('close', () => clearTimeout(timer))
  }

/** Cuts after so long, whatever happens. */
export const aged =
  (ms: number): Relaying =>
  (from, to) => {
    passing(from, to)
    const timer = setTimeout(() => to.destroy(), ms)
    to.on('close', () => clearTimeout(timer))
  }

/** Answers everything the same. */
export function answering(status: number, headers: http.OutgoingHttpHeaders, body: string): Promise<Place> {
  return serve((_, res) => res.writeHead(status, headers).end(body))
}
