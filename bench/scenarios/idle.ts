// What a connection costs that nothing is said on: memory, and the CPU of heartbeats.
import { cells, interleaved, measured, pause, type Runs, ratio, Server, say, startLoad } from '../rig.js'
import type { ContenderName } from '../server/contenders.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const NAMES: ContenderName[] = ['raw socket', 'res.write', 'steady-sse', 'better-sse', '@fastify/sse', 'hono', 'h3']
/** Those that have heartbeats. */
const BEATING: ContenderName[] = ['res.write', 'steady-sse', 'better-sse', '@fastify/sse']
const HEARTBEAT_MS = 2_000
const BEATS = 1

export async function* idle(settings: Settings): AsyncGenerator<Table> {
  const size = Math.min(Math.round(10_000 / settings.scale), settings.maxConnections)
  const names = settings.full ? NAMES : NAMES.slice(0, 4)
  const quiet = await interleaved(names, roundsOf(settings, 2), async (name) => {
    const found = await quietOf(settings, name as ContenderName, size)
    say(`  ${name}: ${found.kb.toFixed(1)} KB`)
    return found
  })
  const beating = names.filter((name) => BEATING.includes(name))
  const beats = await interleaved(beating, roundsOf(settings, 1, 3), async (name) => {
    const found = await beatOf(settings, name as ContenderName, size)
    say(`  ${name}: ${found.toFixed(1)} µs per heartbeat`)
    return found
  })
  yield tableOf(names, size, quiet, beats)
}

interface Quiet {
  readonly kb: number
  readonly heapKb: number
  /** The heap that each of the later half takes, as a multiple of one of the earlier. */
  readonly growth: number
}

function tableOf(names: readonly string[], size: number, quiet: Runs<Quiet>, beats: Runs<number>): Table {
  return {
    id: 'idle',
    title: `Idle: ${size.toLocaleString('en-US')} connections that get nothing`,
    note: `Resident memory of the server, after a collection, for each connection more. Heartbeats: one in ${HEARTBEAT_MS / 1_000} s, with the CPU of the server for each.`,
    columns: [
      { key: 'kb', title: 'KB/connection', digits: 1 },
      { key: 'ratio', title: '× a bare response', digits: 2 },
      { key: 'heapKb', title: 'of it heap KB', digits: 1 },
      { key: 'growth', title: 'heap, later half × earlier', digits: 2 },
      { key: 'beat', title: 'CPU µs/heartbeat', digits: 1 },
    ],
    rows: names.map((name) => ({
      name: name === 'res.write' ? 'a bare response' : name,
      cells: cells({
        kb: measured(quiet, name, ({ kb }) => kb),
        ratio: ratio(quiet, name, 'res.write', ({ kb }) => kb),
        heapKb: measured(quiet, name, ({ heapKb }) => heapKb)?.median,
        growth: measured(quiet, name, ({ growth }) => growth),
        beat: measured(beats, name, (us) => us),
      }),
    })),
    charts: [{ key: 'kb', title: `KB per idle connection at ${size.toLocaleString('en-US')} (less is better)` }],
  }
}

async function quietOf(settings: Settings, name: ContenderName, size: number): Promise<Quiet> {
  await using server = await Server.start(settings, name, { heartbeatMs: 0 })
  await using load = startLoad(settings)
  // What a first crowd leaves behind is the process', not a connection's.
  const first = Math.round(size / 10)
  await load.call('open', server.port, first)
  await server.has(first)
  await load.call('close')
  await server.has(0)
  const none = await server.call('memory')
  await load.call('open', server.port, first)
  const memoryWith = async (count: number, there: number) => {
    await load.call('more', count - there)
    await server.has(count)
    return server.call('memory')
  }
  const few = await memoryWith(first, first)
  const middle = Math.round((first + size) / 2)
  const half = await memoryWith(middle, first)
  const all = await memoryWith(size, middle)
  return {
    kb: (all.rss - none.rss) / size / 1_024,
    heapKb: (all.heap - none.heap) / size / 1_024,
    growth: (all.heap - half.heap) / (size - middle) / ((half.heap - few.heap) / (middle - first)),
  }
}

/** CPU for each heartbeat, in microseconds. */
async function beatOf(settings: Settings, name: ContenderName, size: number): Promise<number> {
  await using server = await Server.start(settings, name, { heartbeatMs: HEARTBEAT_MS })
  await using load = startLoad(settings)
  await load.call('open', server.port, size)
  await server.has(size)
  await pause(HEARTBEAT_MS)
  await server.call('begin')
  const before = await load.call('counts')
  await pause(BEATS * HEARTBEAT_MS)
  const [used, after] = await Promise.all([server.call('used'), load.call('counts')])
  const arrived = after.pieces - before.pieces
  if (arrived < 0.9 * BEATS * size) throw new Error(`${arrived} heartbeats instead of ${BEATS * size}`)
  return used / arrived
}
