// One connection flat out: how many events a second go through it, and what one costs.
import { cells, interleaved, measured, ratio, Server, say, startLoad } from '../rig.js'
import { type ContenderName, contenders } from '../server/contenders.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const NAMES = (Object.keys(contenders) as ContenderName[]).filter((name) => name !== 'better-sse shared batch')

/** How long a run takes at least: a collection that falls into it or not must not decide. */
const ENOUGH_US = 500_000
/** And how long each contender runs before it is measured. */
const WARM_US = 1_000_000

export async function* flat(settings: Settings): AsyncGenerator<Table> {
  for (const bytes of settings.full ? [120, 20] : [120]) yield await flatOf(settings, bytes)
}

async function flatOf(settings: Settings, bytes: number): Promise<Table> {
  const count = Math.round(200_000 / settings.scale)
  await using load = startLoad(settings)
  // In a process of its own each time: what the compiler makes of the same code differs from one to the next.
  const runs = await interleaved(NAMES, roundsOf(settings, 3), async (name) => {
    await using server = await Server.start(settings, name as ContenderName, { heartbeatMs: 0 })
    await server.call('prepare', count, bytes)
    await load.call('open', server.port, 1)
    await server.has(1)
    const total = { events: 0, us: 0, cpu: 0, bytes: 0 }
    const run = async () => {
      await load.call('reset')
      const arrived = load.call('until', count)
      const begun = await server.call('begin')
      const [end] = await Promise.all([arrived, server.call('flat')])
      total.cpu += await server.call('used')
      if (end.events !== count || end.disordered > 0)
        throw new Error(`${end.events} events, ${end.disordered} out of order`)
      total.events += count
      total.us += end.at - begun
      total.bytes += end.bytes
    }
    // What comes first is not counted. What runs once for a block of events takes as long until it is compiled.
    while (total.us < WARM_US / settings.scale) await run()
    Object.assign(total, { events: 0, us: 0, cpu: 0, bytes: 0 })
    while (total.us < ENOUGH_US / settings.scale) await run()
    await load.call('close')
    const { events } = total
    const found = { perSecond: (1e6 * events) / total.us, cpu: total.cpu / events, wire: total.bytes / events }
    say(`  ${bytes} B ${name}: ${Math.round(found.perSecond / 1_000)} k/s, ${found.cpu.toFixed(2)} µs`)
    return found
  })
  const events = count.toLocaleString('en-US')
  return {
    id: `flat-${bytes}`,
    title: `One connection, events of ${bytes} B`,
    note: `${events} at a time. Backpressure respected; all events arrived, in order. Their data was made beforehand, and each contender had run for a second before. \`steady-sse\`: an awaited publish for each event.`,
    columns: [
      { key: 'perSecond', title: 'k events/s' },
      { key: 'ratio', title: '× res.write', digits: 2 },
      { key: 'limit', title: '× raw socket', digits: 2 },
      { key: 'own', title: 'steady-sse ÷ it', digits: 2 },
      { key: 'cpu', title: 'server CPU µs/event', digits: 2 },
      { key: 'cpuRatio', title: 'CPU × res.write', digits: 2 },
      { key: 'wire', title: 'bytes/event' },
      { key: 'checked', title: 'checked' },
    ],
    rows: NAMES.map((name) => ({
      name,
      cells: cells(
        {
          perSecond: measured(runs, name, ({ perSecond }) => perSecond / 1_000),
          ratio: ratio(runs, name, 'res.write', ({ perSecond }) => perSecond),
          own: ratio(runs, 'steady-sse', name, ({ perSecond }) => perSecond),
          limit: ratio(runs, name, 'raw socket', ({ perSecond }) => perSecond),
          cpu: measured(runs, name, ({ cpu }) => cpu),
          cpuRatio: ratio(runs, name, 'res.write', ({ cpu }) => cpu),
          wire: measured(runs, name, ({ wire }) => wire)?.median,
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
    charts: [{ key: 'perSecond', title: `One connection, ${bytes} B: thousand events a second (more is better)` }],
  }
}
