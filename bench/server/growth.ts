// The process of a hub among many streams, or with a long log.
import { createServer } from 'node:http'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'
import { answer, cpu } from '../child.js'
import { payload, payloads } from '../payload.js'
import { listen } from './raw.js'

/** The streams that are published to, each with one reader: by the paths that these ask for. */
const BUSY = ['/busy/0', '/busy/1'] as const
const LOG = '/log'
const NEVER_MS = 86_400_000
const ROOM_BYTES = 2 ** 30

let hub: ReturnType<typeof createHub>
let cpuBefore = 0
let prepared: readonly string[] = []
let recorded = 0
/** The newest cursors of the log, the newest last. */
let cursors: string[] = []

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

async function record(data: readonly string[]): Promise<void> {
  const places = await hub.publish(
    LOG,
    data.map((each) => ({ data: each })),
  )
  recorded += data.length
  cursors = [...cursors, ...places.map(({ cursor }) => cursor)].slice(-100)
}

const verbs = {
  /** A hub with a stream for each path, and room for so many of them, and for so many events in each. */
  start(maxStreams: number, maxEvents: number): Promise<number> {
    const store = memoryStore({ maxEvents, maxBytes: ROOM_BYTES, maxTotalBytes: ROOM_BYTES })
    // Heartbeats are what idle connections do cost, and are measured with them.
    hub = createHub({ store, maxStreams, heartbeatMs: NEVER_MS })
    return listen(createServer(sse(hub, { stream: ({ url }) => url ?? '/' })))
  },
  connections: (): number => hub.stats().connections,
  gaps: (): number => hub.stats().gaps,
  /** Begins to count CPU. Nothing is collected before: what that leaves to sweep would be counted too. */
  begin(): void {
    cpuBefore = cpu()
  },
  /** The CPU since `begin`, in microseconds. */
  used: (): number => cpu() - cpuBefore,
  /** Makes the events that are published. */
  prepare(count: number, bytes: number): void {
    prepared = payloads(count, bytes)
  },
  /** Begins so many streams, with an event each, that nobody reads. */
  async streams(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await hub.publish(`/unread/${n}`, { data: payload(0, 100) })
  },
  /** An event in each turn of the loop, to one stream and the other: neither is that of the publish before. */
  async turns(from: number, end: number): Promise<void> {
    for (let n = from; n < end; n++) {
      for (const stream of BUSY) {
        await hub.publish(stream, { data: prepared[n] ?? '' })
        await turn()
      }
    }
  },
  /** One stream, as fast as it takes them. */
  async flat(from: number, end: number): Promise<void> {
    for (let n = from; n < end; n++) await hub.publish(BUSY[0], { data: prepared[n] ?? '' })
  },
  /** Puts so many more events into the log. */
  async record(count: number, bytes: number): Promise<void> {
    const end = recorded + count
    while (recorded < end) await record(payloads(Math.min(1_000, end - recorded), bytes, recorded))
  },
  /** The cursor of the event that is so many behind the newest, and the number of the event after it. */
  place: (behind: number): { cursor: string; next: number } => ({
    cursor: cursors.at(-1 - behind) ?? '',
    next: recorded - behind,
  }),
}

export type GrowthVerbs = typeof verbs

answer(verbs)
