// A restart under a crowd: who comes back when, and what it costs the store.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lines } from '../chart.js'
import type { Policy } from '../load/storm.js'
import { cells, Server, say, startLoad } from '../rig.js'
import type { Settings } from '../settings.js'
import { spread } from '../statistics.js'
import type { Table } from '../table.js'

const MISSED = 300

export async function storm(settings: Settings): Promise<Table[]> {
  const size = Math.min(Math.round(10_000 / settings.scale), settings.maxConnections)
  const policies: Policy[] = ['steady-sse', 'fixed 3 s']
  const rounds = settings.full ? settings.rounds : 1
  const drawn: { name: string; values: readonly number[] }[] = []
  const rows: Table['rows'][number][] = []
  for (const policy of policies) {
    const found: Awaited<ReturnType<typeof stormOf>>[] = []
    for (let round = 0; round < rounds; round++) found.push(await stormOf(settings, size, policy))
    drawn.push({ name: policy, values: found[0]?.attempts ?? [] })
    const of = (measure: (each: (typeof found)[number]) => number) => spread(found.map(measure))
    rows.push({
      name: policy,
      cells: cells({
        densest: of(({ densest }) => densest),
        liveMs: of(({ liveMs }) => liveMs / 1_000),
        attempts: of(({ attempts }) => attempts.reduce((a, b) => a + b, 0) / size),
        looks: of(({ looks }) => looks),
        reads: of(({ reads }) => reads),
        pages: Math.ceil(MISSED / 256),
        checked: found.every(({ complete }) => complete) ? 'all, in order' : 'EVENTS MISSING',
      }),
    })
  }
  mkdirSync(settings.out, { recursive: true })
  const title = `${size.toLocaleString('en-US')} clients after a restart: attempts in each 100 ms`
  writeFileSync(
    join(settings.out, `node-${settings.version}-storm.svg`),
    lines({ title, stepS: 0.1, unit: 'attempts in 100 ms', lines: drawn }),
  )
  return [
    {
      id: 'storm',
      title: `Storm: ${size.toLocaleString('en-US')} clients, the server restarts and is back at once`,
      note: `Real sockets, with the waits of the library's own client. ${MISSED.toLocaleString('en-US')} events were published meanwhile; each client is replayed them.`,
      columns: [
        { key: 'densest', title: 'densest 100 ms, % of attempts', digits: 1 },
        { key: 'liveMs', title: 'all live after s', digits: 1 },
        { key: 'attempts', title: 'attempts/client', digits: 2 },
        { key: 'looks', title: 'looks at the head' },
        { key: 'reads', title: 'reads of pages' },
        { key: 'pages', title: 'pages missed' },
        { key: 'checked', title: 'checked' },
      ],
      rows,
    },
  ]
}

async function stormOf(settings: Settings, size: number, policy: Policy) {
  await using server = await Server.start(settings, 'steady-sse', { heartbeatMs: 0 })
  await using load = startLoad(settings)
  await load.call('openHerd', server.port, size, policy)
  await server.has(size)
  const back = load.call('herdBack')
  await server.call('restart', 0, MISSED)
  const found = await back
  const { reads = 0, looks = 0 } = await server.call('facts')
  const all = found.attempts.reduce((a, b) => a + b, 0)
  const densest = (100 * Math.max(...found.attempts)) / all
  const complete = found.events === size * MISSED && found.disordered === 0
  say(
    `  ${policy}: ${densest.toFixed(1)} % in 100 ms, live after ${found.liveMs.toFixed(0)} ms, ${reads} pages and ${looks} looks, ${found.events} events`,
  )
  return { ...found, densest, reads, looks, complete }
}
