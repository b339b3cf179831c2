// The playground: `npm start` builds the package and runs this. PORT and HOST may be set.
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { SseError } from 'steady-sse'
import { World } from './world.js'

const JS = 'text/javascript; charset=utf-8'

/** What the page is made of. Its client is the file that the package brings for pages without a bundler. */
const FILES: Readonly<Record<string, { file: string; type: string }>> = {
  '/': { file: 'public/index.html', type: 'text/html; charset=utf-8' },
  '/style.css': { file: 'public/style.css', type: 'text/css; charset=utf-8' },
  '/page.js': { file: 'public/page.js', type: JS },
  '/steady-sse/client.js': { file: '../dist/browser/client.js', type: JS },
}

export interface Playground {
  readonly url: string
  close(): Promise<void>
}

/** Starts the playground. Port 0 is any that is free. */
export async function startPlayground({ port = 0, host = '127.0.0.1' } = {}): Promise<Playground> {
  const world = new World()
  await world.controls.publish?.(new URLSearchParams())
  const server = createServer((request, response) => {
    answer(world, request, response).catch((error: unknown) => fail(response, error))
  })
  await once(server.listen(port, host), 'listening')
  const address = server.address() as AddressInfo
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      await world.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer(world: World, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = '', query] = (request.url ?? '').split('?', 2)
  const control = /^\/control\/(\w+)$/.exec(path)?.[1]
  if (control !== undefined && Object.hasOwn(world.controls, control)) {
    if (request.method !== 'POST') return refuse(response, 405, { allow: 'POST' })
    const text = await world.controls[control]?.(new URLSearchParams(query))
    return send(response, 200, JSON.stringify({ text }), 'application/json')
  }
  const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined
  if (path !== '/events' && !file) return refuse(response, 404)
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, { allow: 'GET, HEAD' })
  if (!file) return world.serve(request, response)
  const body = await readFile(new URL(file.file, import.meta.url))
  return send(response, 200, body, file.type)
}

function send(response: ServerResponse, status: number, body: string | Uint8Array, type: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, headers).end()
}

/** A control that the library refuses (a sealed stream) is an ordinary answer; anything else is ours. */
function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy()
  } else if (error instanceof SseError) {
    send(response, 409, JSON.stringify({ text: error.message }), 'application/json')
  } else {
    console.error(error)
    refuse(response, 500)
  }
}

async function main(): Promise<void> {
  const { PORT = '0', HOST } = process.env
  const playground = await startPlayground({ port: Number(PORT), ...(HOST && { host: HOST }) })
  console.log(`The playground is at  ${playground.url}`)
  console.log(`The bare stream:      curl -N '${playground.url}/events?from=earliest'`)
  const stop = () => void playground.close()
  process.once('SIGINT', stop).once('SIGTERM', stop)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
