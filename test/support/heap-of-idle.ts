/**
 * Measures, in a process of its own, what idle connections keep on the heap: as bare responses of Node's, and as
 * streams of a hub. Prints the bytes for each connection, as JSON. Needs `--expose-gc`.
 */
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'

const CONNECTIONS = Number(process.argv[2] ?? 1_000)

const { gc } = globalThis as { gc?: () => void }
if (!gc) throw new Error('Run it with --expose-gc.')
const inUse = async () => {
  for (let n = 0; n < 4; n++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    gc()
  }
  return process.memoryUsage().heapUsed
}

const open = new Set<ServerResponse>()
const bare: RequestListener = (_, res) => {
  const head = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', connection: 'keep-alive' }
  res.writeHead(200, head).flushHeaders()
  open.add(res)
  res.on('close', () => open.delete(res))
}

async function crowd(port: number, size: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let n = 0; n < size; n++) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nhost: idle\r\naccept: text/event-stream\r\n\r\n')
    await once(socket, 'data')
    sockets.push(socket)
  }
  return sockets
}

async function measured(handler: RequestListener): Promise<number> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  // What the first leave behind is the process', not a connection's.
  for (const socket of await crowd(port, 200)) socket.destroy()
  const before = await inUse()
  const sockets = await crowd(port, CONNECTIONS)
  const held = (await inUse()) - before
  for (const socket of sockets) socket.destroy()
  server.close()
  server.closeAllConnections()
  return held / CONNECTIONS
}

const hub = createHub({ store: memoryStore() })
const ofNode = await measured(bare)
const ofHub = await measured(sse(hub, { stream: () => 's' }))
console.log(JSON.stringify({ ofNode, ofHub }))
await hub.close({ graceMs: 1 })
