import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** A proxy that breaks the first response off; it must be one that ends. */
export interface CuttingProxy {
  readonly url: string
  close(): void
}

/** Passes the first response on but for its last `left` bytes, and breaks the connection there; later ones whole. */
export async function cutBeforeLast(port: number, left: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>()
  let isFirst = true
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1')
    let response = Buffer.alloc(0)
    const both = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', both).on('close', both)
      socket.once('close', () => sockets.delete(socket))
    }
    client.on('data', (chunk) => upstream.write(chunk))
    upstream.on('data', (chunk) => {
      response = Buffer.concat([response, chunk])
      if (!isComplete(response)) return
      if (!isFirst) client.write(response)
      else if (left >= response.length) both()
      else client.write(response.subarray(0, -left), () => client.end())
      isFirst = false
      response = Buffer.alloc(0)
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** One response as it goes over the wire, head and chunks. */
export async function rawResponse(port: number, path: string): Promise<Buffer> {
  const socket = net.connect(port, '127.0.0.1')
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n`)
  let response = Buffer.alloc(0)
  for await (const chunk of socket) {
    response = Buffer.concat([response, chunk as Buffer])
    if (isComplete(response)) break
  }
  return response
}

function isComplete(response: Buffer): boolean {
  return response.includes('HTTP/1.1 204') ? response.includes('\r\n\r\n') : response.includes('\r\n0\r\n\r\n')
}

/** A `fetch` whose first body, which must be one that ends, lacks its last `left` bytes: it breaks off once the others are read. */
export function fetchCutBeforeLast(left: number): typeof fetch {
  let isFirst = true
  return async (input, init) => {
    const response = await fetch(input, init)
    if (!isFirst) return response
    isFirst = false
    const bytes = new Uint8Array(await response.arrayBuffer()).subarray(0, -left)
    let isRead = false
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (isRead) controller.error(new TypeError('terminated'))
          else controller.enqueue(bytes)
          isRead = true
        },
      },
      { highWaterMark: 0 },
    )
    return new Response(body, response)
  }
}
