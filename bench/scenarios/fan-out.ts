// One event at a time to many, and many events at once: what one delivery costs the server.
import { cells, interleaved, type Load, measured, ratio, type Server, Servers, say, startLoad } from '../rig.js'
import { type ContenderName, contenders } from '../server/contenders.js'
import type { Settings } from '../settings.js'
import type { Table } from '../table.js'

const BYTES = 200
const NAMES = (Object.keys(contenders) as ContenderName[]).filter(
  (name) => name !== 'steady-sse [100]' && name !== 'steady-sse pipe' && name !== 'res.write coalesced',
)
const FEW: ContenderName[] = ['raw socket', 'pre-chunked on the socket', 'res.write', 'steady-sse', 'better-sse']

/** Opens a crowd on a server that is kept, for one run. */
async function withCrowd<T>(server: Server, load: Load, size: number, stamped: boolean, run: () => Promise<T>) {
  await load.call('open', server.port, size, { stamped })
  await server.has(size)
  try {
    return await run()
  } finally {
    await load.call('close')
    await server.has(0)
  }
}

export async function fanOut(settings: Settings): Promise<Table[]> {
  const sizes = [1_000, 5_000, 10_000].map((size) => Math.round(size / settings.scale))
  const tables: Table[] = []
  for (const [index, size] of sizes.entries()) {
    if (size > settings.maxConnections) {
      say(
        `  ${size} connections: left out, the limit of open files (ulimit -n) leaves room for ${settings.maxConnections}`,
      )
      continue
    }
    const all = index === 0 || settings.full
    const rounds = all ? settings.rounds : Math.max(1, settings.rounds - index)
    tables.push(await fanOutTo(settings, size, all ? NAMES : FEW, rounds))
  }
  return tables
}

async function fanOutTo(settings: Settings, size: number, names: ContenderName[], rounds: number): Promise<Table> {
  const events = 100
  await using load = startLoad(settings)
  await using servers = await Servers.start(settings, names, { heartbeatMs: 0 })
  const runs = await interleaved(names, rounds, async (name) => {
    const server = servers.get(name)
    const found = await withCrowd(server, load, size, true, async () => {
      const one = async (n: number) => {
        const arrived = load.call('until', (n + 1) * size)
        await Promise.all([arrived, server.call('send', n, BYTES)])
        return arrived
      }
      for (let n = 0; n < 10; n++) await one(n)
      const begun = await server.call('begin')
      for (let n = 10; n < 10 + events; n++) await one(n)
      const used = await server.call('used')
      const { at, disordered, events: seen } = await load.call('until', (10 + events) * size)
      if (disordered > 0 || seen !== (10 + events) * size) throw new Error(`${seen} events, ${disordered} out of order`)
      const { p50, p99 } = await load.call('latency')
      return { cpu: used / (events * size), ms: (at - begun) / 1_000, p50: p50 / 1_000, p99: p99 / 1_000 }
    })
    say(`  ${size} ${name}: ${found.cpu.toFixed(2)} µs per delivery`)
    return found
  })
  return {
    id: `fan-out-${size}`,
    title: `Fan-out to ${size.toLocaleString('en-US')} connections, ${events} events of ${BYTES} B, one at a time`,
    note: 'Every connection had each event, in order, before the next was published. `res.write` and below it write shared bytes.',
    columns: [
      { key: 'cpu', title: 'server CPU µs/delivery', digits: 2 },
      { key: 'ratio', title: '× res.write', digits: 2 },
      { key: 'better', title: '× better-sse', digits: 2 },
      { key: 'ms', title: 'all in ms' },
      { key: 'p50', title: 'p50 ms', digits: 1 },
      { key: 'p99', title: 'p99 ms', digits: 1 },
      { key: 'checked', title: 'checked' },
    ],
    rows: names.map((name) => ({
      name,
      cells: cells(
        {
          cpu: measured(runs, name, ({ cpu }) => cpu),
          ratio: ratio(runs, name, 'res.write', ({ cpu }) => cpu),
          better: ratio(runs, name, 'better-sse', ({ cpu }) => cpu),
          ms: measured(runs, name, ({ ms }) => ms)?.median,
          p50: measured(runs, name, ({ p50 }) => p50)?.median,
          p99: measured(runs, name, ({ p99 }) => p99)?.median,
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
    charts: [{ key: 'cpu', title: `Fan-out to ${size.toLocaleString('en-US')}: server CPU per delivery, µs` }],
  }
}

export async function burst(settings: Settings): Promise<Table[]> {
  const size = Math.round(1_000 / settings.scale)
  const events = 100
  const bursts = 3
  const names = NAMES.filter((name) => name !== 'steady-sse writeSSE')
  await using load = startLoad(settings)
  await using servers = await Servers.start(settings, names, { heartbeatMs: 0 })
  const runs = await interleaved(names, settings.rounds, async (name) => {
    const server = servers.get(name)
    const found = await withCrowd(server, load, size, false, async () => {
      const one = (n: number) =>
        Promise.all([load.call('until', (n + 1) * events * size), server.call('burst', n * events, events, BYTES)])
      await one(0)
      await server.call('begin')
      for (let n = 1; n <= bursts; n++) await one(n)
      const used = await server.call('used')
      const { disordered } = await load.call('counts')
      if (disordered > 0) throw new Error(`${disordered} out of order`)
      return { cpu: used / (bursts * events * size) }
    })
    say(`  ${name}: ${found.cpu.toFixed(3)} µs per delivery`)
    return found
  })
  return [
    {
      id: 'burst',
      title: `Bursts: ${events} events of ${BYTES} B published in one tick, to ${size.toLocaleString('en-US')} connections`,
      columns: [
        { key: 'cpu', title: 'server CPU µs/delivery', digits: 3 },
        { key: 'ratio', title: '× res.write', digits: 3 },
        { key: 'better', title: '× better-sse', digits: 3 },
        { key: 'batch', title: '× better-sse batch', digits: 3 },
        { key: 'checked', title: 'checked' },
      ],
      rows: names.map((name) => ({
        name,
        cells: cells(
          {
            cpu: measured(runs, name, ({ cpu }) => cpu),
            ratio: ratio(runs, name, 'res.write', ({ cpu }) => cpu),
            better: ratio(runs, name, 'better-sse', ({ cpu }) => cpu),
            batch: ratio(runs, name, 'better-sse batch', ({ cpu }) => cpu),
            checked: 'all, in order',
          },
          runs.failed.get(name),
        ),
      })),
      charts: [{ key: 'cpu', title: 'Bursts of 100 to 1,000 connections: server CPU per delivery, µs' }],
    },
  ]
}
