// One event at a time to many, and many events at once: what one delivery costs the server.
import { cells, interleaved, type Load, measured, ratio, type Server, Servers, say, startLoad } from '../rig.js'
import { type ContenderName, contenders } from '../server/contenders.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const BYTES = 200
const NAMES = (Object.keys(contenders) as ContenderName[]).filter(
  (name) => name !== 'steady-sse [100]' && name !== 'steady-sse pipe' && name !== 'res.write coalesced',
)
/** Variants that are meant for something else than one event at a time. */
const LONG: ContenderName[] = ['steady-sse writeSSE', 'better-sse batch']
const FEW: ContenderName[] = ['raw socket', 'res.write', 'steady-sse', 'better-sse']
/** So many events before the first that counts, for connections that are new to a server that is warm. */
const NEW = 10
/** So many of one contender at each size: those to more connections are fewer events. */
const DELIVERIES = 100_000
/** So much a run of bursts is to cost: one of a fast contender is over in some milliseconds. */
const ENOUGH_CPU_US = 300_000
const MOST_BURSTS = 12

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

export async function* fanOut(settings: Settings): AsyncGenerator<Table> {
  for (const each of [1_000, 5_000, 10_000]) {
    const size = Math.round(each / settings.scale)
    if (size > settings.maxConnections) {
      say(
        `  ${size} connections: left out, the limit of open files (ulimit -n) leaves room for ${settings.maxConnections}`,
      )
      continue
    }
    const short = each === 1_000 ? NAMES.filter((name) => !LONG.includes(name)) : FEW
    yield await fanOutTo(settings, size, settings.full ? NAMES : short)
  }
}

async function fanOutTo(settings: Settings, size: number, names: ContenderName[]): Promise<Table> {
  const events = Math.round(DELIVERIES / size / settings.scale)
  const warm = new Set<string>()
  await using load = startLoad(settings)
  await using servers = await Servers.start(settings, names, { heartbeatMs: 0 })
  const runs = await interleaved(names, roundsOf(settings, 2), async (name) => {
    const server = servers.get(name)
    const found = await withCrowd(server, load, size, true, async () => {
      let n = 0
      const send = async (count: number) => {
        for (const end = n + count; n < end; n++) {
          await Promise.all([load.call('until', (n + 1) * size), server.call('send', n, BYTES)])
        }
      }
      // As many as will be measured, once; later only what connections that are new need, at each size the same.
      await send(warm.has(name) ? NEW : events)
      warm.add(name)
      await load.call('forgetLatency')
      const begun = await server.call('begin')
      await send(events)
      const used = await server.call('used')
      const kernel = await server.call('kernel')
      const { at, disordered, events: seen } = await load.call('until', n * size)
      if (disordered > 0 || seen !== n * size) throw new Error(`${seen} events, ${disordered} out of order`)
      const { p50, p99 } = await load.call('latency')
      return {
        cpu: used / (events * size),
        kernel: kernel / (events * size),
        ms: (at - begun) / 1_000,
        p50: p50 / 1_000,
        p99: p99 / 1_000,
      }
    })
    say(`  ${size} ${name}: ${found.cpu.toFixed(2)} µs per delivery, ${found.kernel.toFixed(2)} of it in the kernel`)
    return found
  })
  return {
    id: `fan-out-${size}`,
    title: `Fan-out to ${size.toLocaleString('en-US')} connections, ${events} events of ${BYTES} B, one at a time`,
    note: `Every connection had each event, in order, before the next was published. As many were sent before, not measured. \`res.write\` and below it write shared bytes.`,
    columns: [
      { key: 'cpu', title: 'server CPU µs/delivery', digits: 2 },
      { key: 'kernel', title: 'of it the kernel', digits: 2 },
      { key: 'ratio', title: '× res.write', digits: 2 },
      { key: 'own', title: 'steady-sse ÷ it', digits: 2 },
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
          kernel: measured(runs, name, ({ kernel }) => kernel),
          ratio: ratio(runs, name, 'res.write', ({ cpu }) => cpu),
          own: ratio(runs, 'steady-sse', name, ({ cpu }) => cpu),
          ms: measured(runs, name, ({ ms }) => ms)?.median,
          p50: measured(runs, name, ({ p50 }) => p50)?.median,
          p99: measured(runs, name, ({ p99 }) => p99)?.median,
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
    charts: [
      {
        key: 'cpu',
        title: `Fan-out to ${size.toLocaleString('en-US')}: µs of server CPU per delivery (less is better)`,
      },
    ],
  }
}

export async function* burst(settings: Settings): AsyncGenerator<Table> {
  const size = Math.round(1_000 / settings.scale)
  const events = 100
  const names = NAMES.filter((name) => name !== 'steady-sse writeSSE')
  const warm = new Set<string>()
  await using load = startLoad(settings)
  await using servers = await Servers.start(settings, names, { heartbeatMs: 0 })
  const runs = await interleaved(names, roundsOf(settings, 2), async (name) => {
    const server = servers.get(name)
    const found = await withCrowd(server, load, size, false, async () => {
      let n = 0
      const spend = async (most = MOST_BURSTS) => {
        await server.call('begin')
        let used = 0
        let bursts = 0
        while (bursts === 0 || (used < ENOUGH_CPU_US && bursts < most)) {
          await Promise.all([
            load.call('until', (n + 1) * events * size),
            server.call('burst', n * events, events, BYTES),
          ])
          n++
          bursts++
          used = await server.call('used')
        }
        return { cpu: used / (bursts * events * size) }
      }
      await spend(warm.has(name) ? 1 : MOST_BURSTS)
      warm.add(name)
      const spent = await spend()
      const { disordered, events: seen } = await load.call('counts')
      if (disordered > 0 || seen !== n * events * size) throw new Error(`${seen} events, ${disordered} out of order`)
      return spent
    })
    say(`  ${name}: ${found.cpu.toFixed(3)} µs per delivery`)
    return found
  })
  yield {
    id: 'burst',
    title: `Bursts: ${events} events of ${BYTES} B published in one tick, to ${size.toLocaleString('en-US')} connections`,
    note: `One burst after another, until they have cost ${ENOUGH_CPU_US / 1e6} s of CPU or there were ${MOST_BURSTS}; as much was spent before, not measured. All events arrived, in order.`,
    columns: [
      { key: 'cpu', title: 'server CPU µs/delivery', digits: 3 },
      { key: 'ratio', title: '× res.write', digits: 3 },
      { key: 'own', title: 'steady-sse ÷ it', digits: 3 },
      { key: 'checked', title: 'checked' },
    ],
    rows: names.map((name) => ({
      name,
      cells: cells(
        {
          cpu: measured(runs, name, ({ cpu }) => cpu),
          ratio: ratio(runs, name, 'res.write', ({ cpu }) => cpu),
          own: ratio(runs, 'steady-sse', name, ({ cpu }) => cpu),
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
    charts: [{ key: 'cpu', title: 'Bursts of 100 to 1,000: µs of server CPU per delivery (less is better)' }],
  }
}
