import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net'

type Route = (request: IncomingMessage, response: ServerResponse) => void

/** Scripts of the tests find the package as `window.steady`: what is passed into a page can import nothing. */
const PAGE = `<!doctype html><title>page</title><link rel="icon" href="data:," />
<script type="module">
  import * as client from '/client.js'
  import * as outbox from '/outbox.js'
  window.steady = { ...outbox, ...client }
</script>`

/** What the pages of a site have. */
export type Steady = Window & {
  steady: typeof import('../../src/client/index.js') & typeof import('../../src/client/outbox.js')
}

/** A web site: two empty pages, the browser files of the package, and routes of the test's own. */
export interface Site extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** What was asked of the routes, oldest first. */
  readonly asked: readonly IncomingMessage[]
  /** Breaks off every response that is under way, without a goodbye. */
  cut(): void
}

export async function openSite(routes: Readonly<Record<string, Route>>): Promise<Site> {
  const asked: IncomingMessage[] = []
  const server = createServer((request, response) => {
    const [path = '/'] = (request.url ?? '/').split('?', 1)
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    if (route) {
      asked.push(request)
      route(request, response)
    } else if (path === '/' || path === '/other') {
      response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE)
    } else if (path === '/client.js' || path === '/outbox.js') {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(readFileSync(`dist/browser${path}`))
    } else {
      response.writeHead(404).end()
    }
  })
  const port = await listening(server)
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    cut() {
      for (const request of asked) request.socket.destroy()
    },
    [Symbol.asyncDispose]: () => closed(server),
  }
}

export interface Cutter extends AsyncDisposable {
  readonly url: string
  /** How many connections it was asked to cut. */
  readonly cuts: number
}

/** Passes connections on to `port`, and breaks each off when as many bytes came back as its address asks for by `?cut=`, once. */
export async function openCutter(port: number): Promise<Cutter> {
  const done = new Set<string>()
  const sockets = new Set<Socket>()
  const server = createTcpServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    let left = Number.POSITIVE_INFINITY
    // Browsers ask again on the same connection, so each request is looked at; none comes in two pieces.
    client.on('data', (head) => {
      const cut = /[?&]cut=(\d+)/.exec(head.toString('latin1'))?.[1]
      if (cut !== undefined && !done.has(cut)) {
        done.add(cut)
        left = Number(cut)
      }
      upstream.write(head)
    })
    upstream.on('data', (bytes) => {
      const part = bytes.subarray(0, left)
      left -= part.length
      if (left > 0) client.write(part)
      else if (!client.writableEnded) client.end(part)
    })
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', end).on('close', () => sockets.delete(socket))
    }
    upstream.on('close', () => client.end())
    client.on('close', end)
  })
  const at = await listening(server)
  return {
    url: `http://127.0.0.1:${at}`,
    get cuts() {
      return done.size
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await closed(server)
    },
  }
}

async function listening(server: Server | TcpServer): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}

async function closed(server: Server | TcpServer): Promise<void> {
  const over = once(server, 'close')
  server.close()
  if ('closeAllConnections' in server) server.closeAllConnections()
  await over
}
