// The playground: `npm start` builds the package and runs this.
// PORT and HOST may be set; `-- --store sqlite [--folder <path>]` keeps everything over a restart.
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SseError, type SseEvent } from 'steady-sse'
import { sse } from 'steady-sse/node'
import { makeControls } from './controls.js'
import { listen, portOf } from './listen.js'
import { Path } from './path.js'
import { inMemory, inSqlite, type Storage } from './storage.js'
import { World } from './world.js'

const PATHS = 3
const STATUS_MS = 250
const JS = 'text/javascript; charset=utf-8'

/** What the page is made of. Its library is the files that the package brings for pages without a bundler. */
const FILES: Readonly<Record<string, { file: string; type: string }>> = {
  '/': { file: 'public/index.html', type: 'text/html; charset=utf-8' },
  '/style.css': { file: 'public/style.css', type: 'text/css; charset=utf-8' },
  '/lane.css': { file: 'public/lane.css', type: 'text/css; charset=utf-8' },
  '/page.js': { file: 'public/page.js', type: JS },
  '/lane.js': { file: 'public/lane.js', type: JS },
  '/tally.js': { file: 'public/tally.js', type: JS },
  '/timeline.js': { file: 'public/timeline.js', type: JS },
  '/wire.js': { file: 'public/wire.js', type: JS },
  '/sending.js': { file: 'public/sending.js', type: JS },
  '/dom.js': { file: 'public/dom.js', type: JS },
  '/steady-sse/client.js': { file: '../dist/browser/client.js', type: JS },
  '/steady-sse/outbox.js': { file: '../dist/browser/outbox.js', type: JS },
}

export interface Playground extends AsyncDisposable {
  readonly url: string
  close(): Promise<void>
}

export interface PlaygroundOptions {
  readonly port?: number
  readonly host?: string
  readonly storage?: Storage
  /** Whether the server publishes by itself from the start. */
  readonly flowing?: boolean
}

/** Starts the playground: the page on `port`, its paths on the ports behind it. Port 0 is any that is free. */
export async function startPlayground(options: PlaygroundOptions = {}): Promise<Playground> {
  const { port = 0, host = '127.0.0.1', storage = inMemory(), flowing = true } = options
  const world = await World.open(storage, { flowing })
  // A Unix socket: its buffers are small, so that the hub soon feels a slow reader.
  const folder = await mkdtemp(join(tmpdir(), 'steady-sse-'))
  const socket = process.platform === 'win32' ? `\\\\.\\pipe\\steady-sse-${process.pid}` : join(folder, 'hub')
  const hub = createServer(world.handle)
  await once(hub.listen(socket), 'listening')
  const paths = Array.from({ length: PATHS }, () => new Path(socket))
  for (const [index, path] of paths.entries()) await path.listen(port === 0 ? 0 : port + 1 + index, host)
  const controls = makeControls(world, paths)
  const status = sse((_request, { signal }) => snapshots(world, paths, storage, signal))

  const page = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => fail(response, error))
  })
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [address = '', query] = (request.url ?? '').split('?', 2)
    const control = /^\/control\/(\w+)$/.exec(address)?.[1]
    if (control !== undefined && Object.hasOwn(controls, control)) {
      if (request.method !== 'POST') return refuse(response, 405, { allow: 'POST' })
      const text = await controls[control]?.(new URLSearchParams(query))
      return send(response, 200, JSON.stringify({ text }), 'application/json')
    }
    const file = Object.hasOwn(FILES, address) ? FILES[address] : undefined
    if (!file && address !== '/status' && address !== '/events') return refuse(response, 404)
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, { allow: 'GET, HEAD' })
    if (address === '/status') return status(request, response)
    if (!file) return world.handle(request, response)
    return send(response, 200, await readFile(new URL(file.file, import.meta.url)), file.type)
  }
  await listen(page, port, host)

  async function close(): Promise<void> {
    const closed = [once(page, 'close'), once(hub, 'close')]
    page.close()
    hub.close()
    await world.close()
    for (const server of [page, hub]) server.closeAllConnections()
    await Promise.all([...closed, ...paths.map((path) => path.close())])
    await rm(folder, { recursive: true, force: true })
  }
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${portOf(page)}`
  return { url, close, [Symbol.asyncDispose]: close }
}

/** What the page shows of the server: all there is to say, whenever something changed. */
async function* snapshots(
  world: World,
  paths: readonly Path[],
  { where }: Storage,
  signal: AbortSignal,
): AsyncGenerator<SseEvent> {
  let said = ''
  while (!signal.aborted) {
    const seen = paths.map(({ port, fault }) => ({ port, fault }))
    const data = JSON.stringify({ ...world.snapshot(), where, paths: seen })
    if (data !== said) yield { data }
    said = data
    await delay(STATUS_MS, undefined, { signal }).catch(() => {})
  }
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
  const { PORT = '8330', HOST = '127.0.0.1' } = process.env
  const { values } = parseArgs({ options: { store: { type: 'string' }, folder: { type: 'string' } } })
  const { store = 'memory', folder } = values
  if (store !== 'memory' && store !== 'sqlite') throw new TypeError(`Expected --store memory or sqlite, got ${store}`)
  const storage = store === 'sqlite' ? inSqlite(folder) : inMemory()
  const playground = await startPlayground({ port: Number(PORT), host: HOST, storage })
  console.log(`The playground is at  ${playground.url}`)
  console.log(`The bare stream:      curl -N '${playground.url}/events?from=earliest'`)
  console.log(`Its events are in     ${storage.where}`)
  const stop = () => void playground.close()
  process.once('SIGINT', stop).once('SIGTERM', stop)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
