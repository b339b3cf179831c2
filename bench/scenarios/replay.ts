// A crowd that comes late and is told everything; and people who come and go.
import { cells, interleaved, measured, Server, Servers, say, startLoad } from '../rig.js'
import type { ContenderName } from '../server/contenders.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

export async function* replay(settings: Settings): AsyncGenerator<Table> {
  const size = Math.round(1_000 / settings.scale)
  const events = settings.full ? 100_000 : 10_000
  const runs = await interleaved(['steady-sse'], roundsOf(settings, 2, 1), async () => {
    await using server = await Server.start(settings, 'steady-sse', { heartbeatMs: 0, replay: events })
    await using load = startLoad(settings)
    await server.call('record', events, 100)
    const before = await server.call('memory')
    const readsBefore = (await server.call('facts')).reads ?? 0
    const begun = await server.call('begin')
    await load.call('open', server.port, size, { path: '/?from=earliest' })
    const end = await load.call('until', size * events, 300_000)
    const used = await server.call('used')
    const { disordered } = await load.call('counts')
    const facts = await server.call('facts')
    if (disordered > 0 || facts.gaps) throw new Error(`${disordered} out of order, ${facts.gaps} gaps`)
    const after = await server.call('memory')
    const seconds = (end.at - begun) / 1e6
    say(`  ${seconds.toFixed(1)} s, ${facts.reads} reads`)
    return {
      seconds,
      perSecond: (size * events) / seconds / 1e6,
      cpu: used / (size * events),
      reads: (facts.reads ?? 0) - readsBefore,
      mb: (after.rss - before.rss) / 1024 / 1024,
    }
  })
  const name = 'steady-sse'
  yield {
    id: 'replay',
    title: `Replay: ${size.toLocaleString('en-US')} clients at once, ${events.toLocaleString('en-US')} events of 100 B each`,
    note: 'All events arrived on every connection, in order, without a gap.',
    columns: [
      { key: 'seconds', title: 'all have all after s', digits: 1 },
      { key: 'perSecond', title: 'M events/s', digits: 2 },
      { key: 'cpu', title: 'server CPU µs/event', digits: 3 },
      { key: 'reads', title: 'store reads' },
      { key: 'pages', title: 'pages in the log' },
      { key: 'mb', title: 'RSS + MB' },
      { key: 'checked', title: 'checked' },
    ],
    rows: [
      {
        name,
        cells: cells(
          {
            seconds: measured(runs, name, ({ seconds }) => seconds),
            perSecond: measured(runs, name, ({ perSecond }) => perSecond),
            cpu: measured(runs, name, ({ cpu }) => cpu),
            reads: measured(runs, name, ({ reads }) => reads),
            pages: Math.ceil(events / 256),
            mb: measured(runs, name, ({ mb }) => mb),
            checked: 'all, in order',
          },
          runs.failed.get(name),
        ),
      },
    ],
  }
}

const COMING: ContenderName[] = ['res.write', 'steady-sse', 'better-sse', '@fastify/sse', 'hono', 'h3']

export async function* churn(settings: Settings): AsyncGenerator<Table> {
  const [rounds, together] = [15, Math.round(200 / settings.scale)]
  await using load = startLoad(settings)
  await using servers = await Servers.start(settings, COMING, {})
  const runs = await interleaved(COMING, roundsOf(settings, 2, 3), async (name) => {
    const server = servers.get(name)
    await load.call('churn', server.port, 5, together)
    await server.has(0)
    const before = await server.call('memory')
    await server.call('begin')
    await load.call('churn', server.port, rounds, together)
    await server.has(0)
    const used = await server.call('used')
    const after = await server.call('memory')
    const count = rounds * together
    const found = { cpu: used / count, left: (after.heap - before.heap) / count }
    say(`  ${name}: ${found.cpu.toFixed(0)} µs, ${found.left.toFixed(0)} B left`)
    return found
  })
  yield {
    id: 'churn',
    title: `Churn: ${(rounds * together).toLocaleString('en-US')} clients connect and leave, ${together} at a time`,
    columns: [
      { key: 'cpu', title: 'server CPU µs/visit' },
      { key: 'left', title: 'heap left B/visit' },
      { key: 'checked', title: 'checked' },
    ],
    rows: COMING.map((name) => ({
      name,
      cells: cells(
        {
          cpu: measured(runs, name, ({ cpu }) => cpu),
          left: measured(runs, name, ({ left }) => left),
          checked: 'no connection left',
        },
        runs.failed.get(name),
      ),
    })),
  }
}
