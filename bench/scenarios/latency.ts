// From `publish` to the handler of a client in another process, with the server at half of what it can do.
import { Child } from '../child.js'
import type { ReaderVerbs } from '../load/reader.js'
import { cells, interleaved, measured, pause, Servers, say, startLoad } from '../rig.js'
import type { ContenderName } from '../server/contenders.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const NAMES: ContenderName[] = ['steady-sse', 'res.write', 'better-sse']
const SIZE = 100
const BYTES = 200

export async function* latency(settings: Settings): AsyncGenerator<Table> {
  const events = Math.round(2_000 / settings.scale)
  await using servers = await Servers.start(settings, NAMES, { heartbeatMs: 0 })
  await using load = startLoad(settings)
  await using reader = new Child<ReaderVerbs>('load/reader.ts', [], { core: settings.pin ? 1 : undefined })
  const runs = await interleaved(NAMES, roundsOf(settings, 2), async (name) => {
    const server = servers.get(name)
    await reader.call('open', server.port)
    await load.call('open', server.port, SIZE, { stamped: true })
    await server.has(SIZE + 1)
    // What one event costs the server when there is nothing to wait for, and so how many a second are half of its core.
    await server.call('paced', 200, BYTES, 1)
    await load.call('until', 200 * SIZE)
    await server.call('begin')
    await server.call('paced', 500, BYTES, 2, 200)
    await load.call('until', 700 * SIZE)
    const costMs = (await server.call('used')) / 500 / 1_000
    const everyMs = 2 * costMs
    await reader.call('forget')
    await load.call('forgetLatency')
    await server.call('paced', events, BYTES, everyMs, 700)
    await load.call('until', (700 + events) * SIZE)
    await pause(200)
    const found = await reader.call('found')
    const crowd = await load.call('latency')
    await reader.call('close')
    await load.call('close')
    await server.has(0)
    if (found.count !== events || found.disordered > 0) {
      throw new Error(`${found.count} of ${events} events, ${found.disordered} out of order`)
    }
    say(
      `  ${name}: p50 ${(found.p50 / 1_000).toFixed(2)} ms, p99 ${(found.p99 / 1_000).toFixed(2)} ms at ${(1_000 / everyMs).toFixed(0)}/s`,
    )
    return { p50: found.p50 / 1_000, p99: found.p99 / 1_000, crowd: crowd.p99 / 1_000, perSecond: 1_000 / everyMs }
  })
  yield {
    id: 'latency',
    title: `From publish to the handler at half load: one client of ours beside ${SIZE} raw readers`,
    columns: [
      { key: 'perSecond', title: 'events/s' },
      { key: 'p50', title: 'p50 ms', digits: 2 },
      { key: 'p99', title: 'p99 ms', digits: 2 },
      { key: 'crowd', title: 'raw readers p99 ms', digits: 2 },
      { key: 'checked', title: 'checked' },
    ],
    rows: NAMES.map((name) => ({
      name,
      cells: cells(
        {
          perSecond: measured(runs, name, ({ perSecond }) => perSecond),
          p50: measured(runs, name, ({ p50 }) => p50),
          p99: measured(runs, name, ({ p99 }) => p99),
          crowd: measured(runs, name, ({ crowd }) => crowd),
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
  }
}
