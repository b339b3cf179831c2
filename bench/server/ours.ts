// This package, as its users get it: the built one.
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { EventStore } from 'steady-sse'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub, type Hub, writeSSE } from 'steady-sse/server'
import { payload } from '../payload.js'
import type { Contender, ServerOptions } from './contender.js'
import { listen } from './raw.js'

const STREAM = 'bench'
const NEVER_MS = 86_400_000
/** For a log that is longer than what is kept by default. */
const ROOM = { maxEvents: 1_000_000, maxBytes: 256 * 1024 * 1024 }
/** Publishes do not wait for readers: on a busy machine one could fall behind what is kept by default, and be told of a gap. */
const SPARE = { maxEvents: 50_000, maxBytes: 64 * 1024 * 1024 }

type Publish = (hub: Hub, data: readonly string[]) => Promise<void>

const awaited: Publish = async (hub, data) => {
  for (let n = 0; n < data.length; n++) await hub.publish(STREAM, { data: data[n] ?? '' })
}

const batched: Publish = async (hub, data) => {
  for (let n = 0; n < data.length; n += 100) {
    await hub.publish(
      STREAM,
      data.slice(n, n + 100).map((each) => ({ data: each })),
    )
  }
}

/** The library's own backpressure: never more than `maxLead` ahead of the reader. */
const piped: Publish = async (hub, data) => {
  async function* events() {
    for (const each of data) yield { data: each }
  }
  await hub.pipe(STREAM, events(), { maxLead: 5_000, seal: false })
}

function overHub(
  options: ServerOptions,
  publish: Publish,
  store: EventStore = memoryStore(options.replay ? ROOM : SPARE),
): Contender {
  const reads = { pages: 0, looks: 0 }
  const counted = counting(store, reads)
  const start = () => {
    const hub = createHub({
      store: counted,
      heartbeatMs: options.heartbeatMs === 0 ? NEVER_MS : options.heartbeatMs,
      maxReplay: options.replay,
    })
    const server = createServer(sse(hub, { stream: () => STREAM }))
    return { hub, server }
  }
  let { hub, server } = start()
  let port = 0
  return {
    async listen() {
      port = await listen(server)
      return port
    },
    connections: () => hub.stats().connections,
    flat: (data) => publish(hub, data),
    send: (data) => hub.publish(STREAM, { data }),
    burst: (data) => Promise.all(data.map((each) => hub.publish(STREAM, { data: each }))),
    async record(data) {
      for (let n = 0; n < data.length; n += 1_000)
        await hub.publish(
          STREAM,
          data.slice(n, n + 1_000).map((each) => ({ data: each })),
        )
    },
    facts: () => ({
      reads: reads.pages,
      looks: reads.looks,
      gaps: hub.stats().gaps,
      connections: hub.stats().connections,
    }),
    async restart(awayMs, missed) {
      const old = { hub, server }
      // First: a memory store is freed with the last hub on it.
      ;({ hub, server } = start())
      old.server.close()
      old.server.closeAllConnections()
      await old.hub.close({ graceMs: 1 })
      for (let n = 1; n <= missed; n++) await hub.publish(STREAM, { data: payload(n, 40) })
      reads.pages = reads.looks = 0
      if (awayMs > 0) await new Promise((resolve) => setTimeout(resolve, awayMs))
      await relisten(server, port)
    },
  }
}

export const ours = (options: ServerOptions) => overHub(options, awaited)
export const oursBatch = (options: ServerOptions) => overHub(options, batched)
export const oursPipe = (options: ServerOptions) => overHub(options, piped)

/** No hub: a response of one's own, each event awaited. */
export function oursWrite(_: ServerOptions): Contender {
  const open = new Set<ServerResponse>()
  const server = createServer((_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }).flushHeaders()
    open.add(res)
    res.on('close', () => open.delete(res))
  })
  return {
    listen: () => listen(server),
    connections: () => open.size,
    async flat(data) {
      const [res] = open
      if (!res) throw new Error('no connection')
      for (let n = 0; n < data.length; n++) await writeSSE(res, { data: data[n] ?? '', id: String(n) })
    },
    send(data, n) {
      const event = { data, id: String(n) }
      return Promise.all(Array.from(open, (res) => writeSSE(res, event)))
    },
  }
}

/** Counts what is read of a store: pages of events, and looks at where the stream stands. */
function counting(store: EventStore, reads: { pages: number; looks: number }): EventStore {
  const read = store.read.bind(store)
  return Object.assign(store, {
    read: (...given: Parameters<EventStore['read']>) => {
      if (given[2].limit > 0) reads.pages++
      else reads.looks++
      return read(...given)
    },
  })
}

/** On the port that it had. */
async function relisten(server: Server, port: number): Promise<void> {
  await once(server.listen(port, '127.0.0.1', 4_096), 'listening')
}
