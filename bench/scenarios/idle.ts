// What a connection costs that nothing is said on: memory, and the CPU of heartbeats.
import { cells, pause, Server, say, startLoad } from '../rig.js'
import type { ContenderName } from '../server/contenders.js'
import type { Settings } from '../settings.js'
import { type Spread, spread } from '../statistics.js'
import type { Table } from '../table.js'

const NAMES: ContenderName[] = ['raw socket', 'res.write', 'steady-sse', 'better-sse', '@fastify/sse', 'hono', 'h3']
/** Those that have heartbeats. */
const BEATING: ContenderName[] = ['res.write', 'steady-sse', 'better-sse', '@fastify/sse']
const HEARTBEAT_MS = 2_000

export async function idle(settings: Settings): Promise<Table[]> {
  const size = Math.min(Math.round(10_000 / settings.scale), settings.maxConnections)
  const names = settings.full ? NAMES : NAMES.slice(0, 4)
  const rounds = Math.min(settings.rounds, settings.full ? 5 : 2)
  const found = new Map<string, { kb: number[]; heapKb: number[]; beat: number[] }>()
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const kept = found.get(name) ?? { kb: [], heapKb: [], beat: [] }
      found.set(name, kept)
      const quiet = await idleOf(settings, name, size)
      kept.kb.push(quiet.kb)
      kept.heapKb.push(quiet.heapKb)
      if (BEATING.includes(name)) kept.beat.push(await beatOf(settings, name, size))
      say(`  ${name}: ${quiet.kb.toFixed(1)} KB, ${kept.beat.at(-1)?.toFixed(1) ?? '–'} µs per heartbeat`)
    }
  }
  const base = found.get('res.write')?.kb ?? []
  const relative = (kb: readonly number[]): Spread =>
    spread(kb.map((each, round) => each / (base[round] ?? Number.NaN)))
  return [
    {
      id: 'idle',
      title: `Idle: ${size.toLocaleString('en-US')} connections that get nothing`,
      note: `Resident memory of the server, after a collection, for each connection more. Heartbeats: one in ${HEARTBEAT_MS / 1_000} s, with the CPU of the server for each.`,
      columns: [
        { key: 'kb', title: 'KB/connection', digits: 1 },
        { key: 'ratio', title: '× a bare response', digits: 2 },
        { key: 'heapKb', title: 'of it heap KB', digits: 1 },
        { key: 'beat', title: 'CPU µs/heartbeat', digits: 1 },
      ],
      rows: names.map((name) => {
        const { kb = [], heapKb = [], beat = [] } = found.get(name) ?? {}
        return {
          name: name === 'res.write' ? 'a bare response' : name,
          cells: cells({
            kb: spread(kb),
            ratio: relative(kb),
            heapKb: spread(heapKb).median,
            beat: beat.length ? spread(beat) : undefined,
          }),
        }
      }),
      charts: [{ key: 'kb', title: `Memory per idle connection at ${size.toLocaleString('en-US')}, KB` }],
    },
  ]
}

async function idleOf(settings: Settings, name: ContenderName, size: number) {
  await using server = await Server.start(settings, name, { heartbeatMs: 0 })
  await using load = startLoad(settings)
  // What a first crowd leaves behind is the process', not a connection's.
  const first = Math.round(size / 10)
  await load.call('open', server.port, first)
  await server.has(first)
  await load.call('close')
  await server.has(0)
  const before = await server.call('memory')
  await load.call('open', server.port, size)
  await server.has(size)
  const after = await server.call('memory')
  return { kb: (after.rss - before.rss) / size / 1_024, heapKb: (after.heap - before.heap) / size / 1_024 }
}

/** CPU for each heartbeat, in microseconds. */
async function beatOf(settings: Settings, name: ContenderName, size: number): Promise<number> {
  await using server = await Server.start(settings, name, { heartbeatMs: HEARTBEAT_MS })
  await using load = startLoad(settings)
  await load.call('open', server.port, size)
  await server.has(size)
  await pause(HEARTBEAT_MS)
  await server.call('begin')
  await pause(2 * HEARTBEAT_MS)
  return (await server.call('used')) / (2 * size)
}
