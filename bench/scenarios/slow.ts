// Slow readers: what one in ten that reads nothing, or a drip, does to the others.
import { cells, interleaved, measured, pause, ratio, Server, say, startLoad } from '../rig.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const BYTES = 4_000
const WAYS = ['all read', 'one in ten stalled', 'one in ten drips']

export async function* slow(settings: Settings): AsyncGenerator<Table> {
  const size = Math.round((settings.full ? 200 : 100) / Math.min(4, settings.scale))
  const paced = 400
  const runs = await interleaved(WAYS, roundsOf(settings, 2), async (way) => {
    await using server = await Server.start(settings, 'steady-sse', { heartbeatMs: 0 })
    await using load = startLoad(settings)
    await load.call('open', server.port, size, { stamped: true })
    await server.has(size)
    const before = await server.call('memory')
    let stalled = 0
    if (way === WAYS[1]) stalled = await load.call('stall', 10)
    if (way === WAYS[2]) await load.call('drip', 10, 50)
    // The system takes some megabytes for each before they block: that is sent in all three ways, and not measured.
    const fill = Math.ceil((8 * 1024 * 1024) / BYTES)
    await server.call('paced', fill, BYTES, 1)
    await pause(500)
    await load.call('forgetLatency')
    await server.call('begin')
    await server.call('paced', paced, BYTES, 5, fill)
    await pause(300)
    const used = await server.call('used')
    const after = await server.call('memory')
    const all = await load.call('latency')
    const { disordered } = await load.call('counts')
    const facts = await server.call('facts')
    if (disordered > 0) throw new Error(`${disordered} events out of order`)
    const mb = (after.rss - before.rss) / 1024 / 1024
    const buffersMb = (after.buffers - before.buffers + after.heap - before.heap) / 1024 / 1024
    say(`  ${way}: p99 ${(all.p99 / 1_000).toFixed(1)} ms, ${mb.toFixed(0)} MB, ${stalled} stalled, ${facts.gaps} gaps`)
    return { p50: all.p50 / 1_000, p99: all.p99 / 1_000, used: used / paced / size, mb, buffersMb }
  })
  yield {
    id: 'slow',
    title: `Slow readers: ${size} connections, ${paced} events of ${BYTES} B, one in 5 ms`,
    note: 'The delay is that of the readers that read. It is measured from when the others have blocked.',
    columns: [
      { key: 'p50', title: 'p50 ms', digits: 2 },
      { key: 'p99', title: 'p99 ms', digits: 2 },
      { key: 'ratio', title: 'p99 × all read', digits: 2 },
      { key: 'used', title: 'CPU µs/delivery', digits: 1 },
      { key: 'mb', title: 'RSS + MB', digits: 0 },
      { key: 'buffersMb', title: 'heap and buffers + MB', digits: 1 },
      { key: 'checked', title: 'checked' },
    ],
    rows: WAYS.map((name) => ({
      name,
      cells: cells(
        {
          p50: measured(runs, name, ({ p50 }) => p50),
          p99: measured(runs, name, ({ p99 }) => p99),
          ratio: ratio(runs, name, 'all read', ({ p99 }) => p99),
          used: measured(runs, name, ({ used }) => used),
          mb: measured(runs, name, ({ mb }) => mb),
          buffersMb: measured(runs, name, ({ buffersMb }) => buffersMb),
          checked: 'in order',
        },
        runs.failed.get(name),
      ),
    })),
  }
}
