import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address } from './raw-reader.js'

/** A running server. Disposing it cuts what is left of it. */
export interface Served extends AsyncDisposable {
  readonly address: Address
  /** The server's sides of the connections that are open. */
  readonly sockets: ReadonlySet<Socket>
  readonly responses: readonly http.ServerResponse[]
  /** Resolves when no connection is open any more. */
  idle(): Promise<void>
}

export interface ServeOptions {
  /** Listen on a Unix socket, whose buffers are small, so that a reader that stops is felt soon. */
  readonly unix?: boolean
}

/** Whether a response has to wait for its reader. What is written to a socket past the response, only the socket knows. */
export function isBlocked(res: http.ServerResponse | undefined): boolean {
  return res?.writableNeedDrain === true || res?.socket?.writableNeedDrain === true
}

/** Resolves when there is room again. */
export function drain(res: http.ServerResponse): Promise<void> {
  const { socket } = res
  return new Promise((resolve) => {
    const drained = () => {
      res.off('drain', drained)
      socket?.off('drain', drained)
      resolve()
    }
    res.on('drain', drained)
    socket?.on('drain', drained)
  })
}

export async function listen(listener: http.RequestListener, { unix = false }: ServeOptions = {}): Promise<Served> {
  const sockets = new Set<Socket>()
  const responses: http.ServerResponse[] = []
  const waiting = new Set<() => void>()
  const server = http.createServer((req, res) => {
    responses.push(res)
    listener(req, res)
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0) for (const go of waiting) go()
    })
  })
  const folder = unix ? await mkdtemp(join(tmpdir(), 'sse-')) : undefined
  if (folder === undefined) server.listen(0, '127.0.0.1')
  else server.listen(join(folder, 's'))
  await once(server, 'listening')
  const bound = server.address() as AddressInfo | string
  return {
    address: typeof bound === 'string' ? { socketPath: bound } : { port: bound.port },
    sockets,
    responses,
    idle: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.add(() => resolve()))),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
      if (folder) await rm(folder, { recursive: true, force: true })
    },
  }
}
