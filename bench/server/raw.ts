// Node alone: what a library adds to is measured against these.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net'
import type { Contender, ServerOptions } from './contender.js'

const HEAD = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', connection: 'keep-alive' }
const COALESCED = 64 * 1024

export async function listen(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1', 4_096), 'listening')
  return (server.address() as AddressInfo).port
}

const frame = (data: string, n: number) => `data: ${data}\nid: ${n}\n\n`

export function chunk(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)
}

/** The bare response of `node:http`, and what `put` does to write a text to it. */
function overHttp(options: ServerOptions, how: { coalesce: boolean; direct: boolean }): Contender {
  const open = new Set<ServerResponse>()
  const server = createServer((_, res) => {
    res.writeHead(200, HEAD).flushHeaders()
    open.add(res)
    res.on('close', () => open.delete(res))
  })
  if (options.heartbeatMs) setInterval(() => open.forEach((res) => void res.write(': \n\n')), options.heartbeatMs)
  const write = (res: ServerResponse, text: string): boolean =>
    how.direct ? (res.socket?.write(chunk(text)) ?? true) : res.write(text)
  const drained = (res: ServerResponse) => once(how.direct && res.socket ? res.socket : res, 'drain')
  return {
    listen: () => listen(server),
    connections: () => open.size,
    async flat(data) {
      const [res] = open
      if (!res) throw new Error('no connection')
      let text = ''
      for (let n = 0; n < data.length; n++) {
        text += frame(data[n] ?? '', n)
        if (how.coalesce && text.length < COALESCED && n < data.length - 1) continue
        if (!write(res, text)) await drained(res)
        text = ''
      }
    },
    send(data, n) {
      const shared = how.direct ? chunk(frame(data, n)) : Buffer.from(frame(data, n))
      if (how.direct) for (const res of open) res.socket?.write(shared)
      else for (const res of open) res.write(shared)
    },
    ...(how.coalesce && {
      burst(data: readonly string[], first: number) {
        const text = data.map((each, index) => frame(each, first + index)).join('')
        const shared = how.direct ? chunk(text) : Buffer.from(text)
        for (const res of open) (how.direct ? res.socket : res)?.write(shared)
      },
    }),
  }
}

export const resWrite = (options: ServerOptions) => overHttp(options, { coalesce: false, direct: false })
export const resWriteCoalesced = (options: ServerOptions) => overHttp(options, { coalesce: true, direct: false })
export const socketChunked = (options: ServerOptions) => overHttp(options, { coalesce: true, direct: true })

/** No HTTP but for a head that is the same for all: the limit. */
export function rawSocket(options: ServerOptions): Contender {
  const open = new Set<Socket>()
  const server = createNetServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n')
      open.add(socket)
    })
  })
  if (options.heartbeatMs) setInterval(() => open.forEach((socket) => void socket.write(': \n\n')), options.heartbeatMs)
  return {
    listen: () => listen(server),
    connections: () => open.size,
    async flat(data) {
      const [socket] = open
      if (!socket) throw new Error('no connection')
      let text = ''
      for (let n = 0; n < data.length; n++) {
        text += frame(data[n] ?? '', n)
        if (text.length < COALESCED && n < data.length - 1) continue
        if (!socket.write(text)) await once(socket, 'drain')
        text = ''
      }
    },
    send(data, n) {
      const shared = Buffer.from(frame(data, n))
      for (const socket of open) socket.write(shared)
    },
    burst(data, first) {
      const shared = Buffer.from(data.map((each, index) => frame(each, first + index)).join(''))
      for (const socket of open) socket.write(shared)
    },
  }
}
