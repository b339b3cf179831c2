// A restart under a crowd: who comes back when, and what it costs the server and its store.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lines } from '../chart.js'
import { Child } from '../child.js'
import type { Return } from '../load/attempts.js'
import type { ClientsVerbs } from '../load/clients.js'
import type { Policy } from '../load/storm.js'
import { nameOf } from '../report.js'
import { cells, interleaved, measured, type Runs, Server, say, startLoad } from '../rig.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

const PAGE = 256
/** The waits of the library's client on bare sockets, and those of a client without jitter. */
const POLICIES: Policy[] = ['steady-sse', 'fixed 3 s']

interface Storm extends Return {
  readonly size: number
  readonly serverMs: number
  readonly loadMs: number
  /** What the store was asked for: pages of events, and where the stream stands. */
  readonly pages: number
  readonly looks: number
}

export async function* storm(settings: Settings): AsyncGenerator<Table> {
  const size = Math.min(Math.round(10_000 / settings.scale), settings.maxConnections)
  const missed = 300
  const runs = await interleaved(POLICIES, roundsOf(settings, 1, 3), (policy) =>
    stormOf(settings, { size, missed, policy: policy as Policy }),
  )
  mkdirSync(settings.out, { recursive: true })
  const title = `${size.toLocaleString('en-US')} clients after a restart: attempts in each 100 ms`
  const drawn = POLICIES.map((name) => ({ name, values: runs.of.get(name)?.[0]?.attempts ?? [] }))
  writeFileSync(
    join(settings.out, `${nameOf(settings.version)}-storm.svg`),
    lines({ title, stepS: 0.1, unit: 'attempts in 100 ms', lines: drawn }),
  )
  yield tableOf(runs, {
    id: 'storm',
    title: `Storm: ${size.toLocaleString('en-US')} clients, the server restarts and is back at once`,
    note: `Bare sockets with the waits of the library's own client, all established. ${missed} events were published meanwhile; each client is replayed them.`,
    missed,
  })
  yield await stormOfClients(settings)
}

/** The same with the client itself: heavier, so there are fewer. */
async function stormOfClients(settings: Settings): Promise<Table> {
  const size = Math.round(2_000 / settings.scale)
  const missed = 100
  const runs = await interleaved(['connect'], roundsOf(settings, 1, 3), () => stormOf(settings, { size, missed }))
  return tableOf(runs, {
    id: 'storm-clients',
    title: `Storm: ${size.toLocaleString('en-US')} clients of the package itself in one process`,
    note: `\`connect\` over Node's own \`fetch\`. ${missed} events were published meanwhile. Of fewer attempts, more fall into one 100 ms by chance.`,
    missed,
  })
}

function tableOf(runs: Runs<Storm>, about: { id: string; title: string; note: string; missed: number }): Table {
  const { id, title, note, missed } = about
  return {
    id,
    title,
    note: `${note} No client can be live before its attempt is due: what comes after the last one that was due is the work of the server and of the load.`,
    columns: [
      { key: 'densest', title: 'densest 100 ms, % of attempts', digits: 2 },
      { key: 'densestDue', title: 'as due, %', digits: 2 },
      { key: 'due', title: 'last due after s', digits: 2 },
      { key: 'live', title: 'all live after s', digits: 2 },
      { key: 'attempts', title: 'attempts/client', digits: 2 },
      { key: 'head', title: 'attempt to head p50 ms', digits: 1 },
      { key: 'head99', title: 'p99 ms', digits: 1 },
      { key: 'reads', title: 'store reads' },
      { key: 'most', title: 'pages + 10' },
      { key: 'server', title: 'server CPU s', digits: 2 },
      { key: 'load', title: 'load CPU s', digits: 2 },
      { key: 'late', title: 'load late p99 ms', digits: 1 },
      { key: 'checked', title: 'checked' },
    ],
    rows: [...runs.of.keys()].map((name) => {
      const of = (measure: (run: Storm) => number) => measured(runs, name, measure)
      const complete = runs.of.get(name)?.every((run) => isComplete(run, missed))
      return {
        name,
        cells: cells(
          {
            densest: of(({ densest, attempts }) => (100 * densest) / sum(attempts)),
            densestDue: of(({ densestDue, attempts }) => (100 * densestDue) / sum(attempts)),
            due: of(({ lastDueMs }) => lastDueMs / 1_000),
            live: of(({ liveMs }) => liveMs / 1_000),
            attempts: of(({ attempts, size }) => sum(attempts) / size),
            head: of(({ headMs: [p50] }) => p50),
            head99: of(({ headMs: [, p99] }) => p99),
            reads: of(({ pages, looks }) => pages + looks),
            most: Math.ceil(missed / PAGE) + 10,
            server: of(({ serverMs }) => serverMs / 1_000),
            load: of(({ loadMs }) => loadMs / 1_000),
            late: of(({ lateMs }) => lateMs),
            checked: complete ? 'all, in order' : 'EVENTS MISSING',
          },
          runs.failed.get(name),
        ),
      }
    }),
  }
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
const isComplete = ({ events, size, disordered, gaps }: Storm, missed: number) =>
  events === size * missed && disordered === 0 && gaps === 0

/** Without a policy: with clients of the package. */
async function stormOf(
  settings: Settings,
  { size, missed, policy }: { size: number; missed: number; policy?: Policy },
): Promise<Storm> {
  await using server = await Server.start(settings, 'steady-sse', { heartbeatMs: 0 })
  await using crowd = policy ? herd(settings, server.port, size, policy) : clients(settings, server.port, size)
  await crowd.open()
  await server.has(size)
  // One event for each: they are established, and have a place to come back to.
  await Promise.all([server.call('send', 0, 40), crowd.first()])
  await Promise.all([server.call('begin'), crowd.begin()])
  const back = crowd.back(missed)
  await server.call('restart', 0, missed)
  const found = await back
  const [serverUs, loadUs] = await Promise.all([server.call('used'), crowd.used()])
  const { reads: pages = 0, looks = 0 } = await server.call('facts')
  say(
    `  ${policy ?? 'connect'}: densest ${found.densest} (due: ${found.densestDue}), last due ${found.lastDueMs.toFixed(0)} ms, live ${found.liveMs.toFixed(0)} ms, head p99 ${found.headMs[1].toFixed(0)} ms, late p99 ${found.lateMs.toFixed(0)} ms, ${pages} pages and ${looks} looks, CPU ${(serverUs / 1e6).toFixed(2)} and ${(loadUs / 1e6).toFixed(2)} s`,
  )
  return { ...found, size, serverMs: serverUs / 1_000, loadMs: loadUs / 1_000, pages, looks }
}

function herd(settings: Settings, port: number, size: number, policy: Policy) {
  const load = startLoad(settings)
  return {
    open: () => load.call('openHerd', port, size, policy),
    first: () => load.call('herdUntil', size),
    begin: () => load.call('begin'),
    back: (missed: number) => load.call('herdBack', missed),
    used: () => load.call('used'),
    [Symbol.asyncDispose]: () => load[Symbol.asyncDispose](),
  }
}

function clients(settings: Settings, port: number, size: number) {
  const load = new Child<ClientsVerbs>('load/clients.ts', [], { core: settings.pin ? 1 : undefined })
  return {
    open: () => load.call('open', port, size),
    first: () => load.call('until', 1),
    begin: () => load.call('begin'),
    back: (missed: number) => load.call('back', missed),
    used: () => load.call('used'),
    [Symbol.asyncDispose]: () => load[Symbol.asyncDispose](),
  }
}
