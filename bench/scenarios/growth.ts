// What a publish costs among many others, and what a return costs with a long log: neither is to grow with them.
import { Child } from '../child.js'
import { cells, interleaved, type Load, measured, pause, type Runs, ratio, say, startLoad } from '../rig.js'
import type { GrowthVerbs } from '../server/growth.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Column, Table } from '../table.js'

const BYTES = 120
/** To each of two streams, in a turn of the loop of its own. */
const TURNS = 5_000
/** To one stream, awaited. */
const FLAT = 100_000
/**
 * How often that is done in a run: it is to hold several collections of the old generation, and 100,000 events bring one or
 * none. With one that falls into it, they cost a third more.
 */
const TIMES = { turns: 3, flat: 8 }
/** A reader that is further behind than the log would have a gap; these are read before there are more. */
const AHEAD = 5_000
/** What `flat` takes until it costs what it will. */
const WARM_FLAT = 200_000
/** What does not arrive in that time does not arrive. */
const LIMIT_MS = 20_000
const VISITORS = 200
const RETURNING = 1_000
const BEHIND = 10

type GrowthServer = Child<GrowthVerbs>

export async function* growth(settings: Settings): AsyncGenerator<Table> {
  yield await publishing(settings)
  yield await returning(settings)
}

/** What is there beside what is published to. */
interface Others {
  readonly connections: number
  readonly streams: number
}

function othersOf({ full, scale, maxConnections }: Settings): [string, Others][] {
  const some = (most: number) => Math.round(most / scale)
  const connected = [1_000, ...(full ? [10_000] : [])].map(some).filter((count) => {
    if (count <= maxConnections) return true
    say(`  ${count} connections: left out, the limit of open files (ulimit -n) leaves room for ${maxConnections}`)
    return false
  })
  return [
    ['nothing else', { connections: 0, streams: 0 }],
    ...connected.map((connections): [string, Others] => [
      `${text(connections)} idle connections`,
      { connections, streams: 0 },
    ]),
    [`${text(some(10_000))} idle streams`, { connections: 0, streams: some(10_000) }],
  ]
}

interface Published {
  readonly turn: number
  readonly flat: number
}

async function publishing(settings: Settings): Promise<Table> {
  const all = new Map(othersOf(settings))
  const names = [...all.keys()]
  const [turns, flat] = [Math.round(TURNS / settings.scale), Math.round(FLAT / settings.scale)]
  // Each time in a process of its own: what the compiler makes of the same code differs from one to the next by more
  // than what is looked for here.
  const runs = await interleaved(names, roundsOf(settings, 3, 5), async (name): Promise<Published> => {
    await using among = new Processes()
    const { server, readers, open } = await amongOthers(settings, all.get(name) ?? missing(name), among)
    const found = {
      turn: await publish(server, readers, 'turns', turns, TIMES.turns),
      flat: await publish(server, readers, 'flat', flat, TIMES.flat),
    }
    await has(server, open)
    say(`  ${name}: ${found.turn.toFixed(2)} µs in a turn of its own, ${found.flat.toFixed(2)} µs awaited`)
    return found
  })
  return {
    id: 'growth-publish',
    title: `Growth: a publish of ${BYTES} B to one reader, with others that nothing is said to`,
    note: 'Others are each on a stream of its own. In a turn: two streams take turns, an event in each turn of the loop. Awaited: one stream, as fast as it takes them. All events arrived, in order. No heartbeats: what they cost is with the idle connections.',
    columns: [
      { key: 'turn', title: 'server CPU µs/event in a turn', digits: 2 },
      { key: 'turnRatio', title: '× nothing else', digits: 2 },
      { key: 'flat', title: 'CPU µs/event awaited', digits: 2 },
      { key: 'flatRatio', title: '× nothing else', digits: 2 },
      checkedColumn,
    ],
    rows: names.map((name) => ({
      name,
      cells: cells(
        {
          turn: measured(runs, name, ({ turn }) => turn),
          turnRatio: ratio(runs, name, names[0] ?? '', ({ turn }) => turn),
          flat: measured(runs, name, ({ flat }) => flat),
          flatRatio: ratio(runs, name, names[0] ?? '', ({ flat }) => flat),
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
  }
}

/** A server with its others and two readers, warm. */
export async function amongOthers(settings: Settings, { connections, streams }: Others, all: Processes) {
  const server = all.use(startServer(settings))
  const port = await server.call('start', connections + streams + VISITORS + 10, 10_000)
  await visit(settings, server, port)
  if (connections > 0) await all.use(startLoad(settings)).call('open', port, connections, { path: '/idle/', own: true })
  await server.call('streams', streams)
  const readers = all.use(startLoad(settings))
  await readers.call('open', port, 2, { path: '/busy/', own: true })
  const open = connections + 2
  await has(server, open)
  const warm = Math.round(WARM_FLAT / settings.scale)
  await server.call('prepare', warm, BYTES)
  await publish(server, readers, 'flat', warm)
  await publish(server, readers, 'turns', Math.round((2 * TURNS) / settings.scale))
  return { server, readers, open }
}

/** A crowd comes and goes: the code of each server is to have seen more than one connection. */
async function visit(settings: Settings, server: GrowthServer, port: number): Promise<void> {
  await using load = startLoad(settings)
  await load.call('open', port, VISITORS, { path: '/idle/', own: true })
  await has(server, VISITORS)
  await load.call('close')
  await has(server, 0)
}

/** CPU for each event, in microseconds. */
export async function publish(
  server: GrowthServer,
  readers: Load,
  how: 'turns' | 'flat',
  count: number,
  times = 1,
): Promise<number> {
  const streams = how === 'turns' ? 2 : 1
  const events = streams * count
  let used = 0
  for (let time = 0; time < times; time++) {
    await readers.call('reset')
    await server.call('begin')
    for (let n = 0; n < count; n += AHEAD) {
      const end = Math.min(n + AHEAD, count)
      await Promise.all([readers.call('until', streams * end, LIMIT_MS), server.call(how, n, end)])
    }
    used += await server.call('used')
    const { events: seen, disordered, cut } = await readers.call('counts')
    if (disordered > 0 || cut > 0 || seen !== events)
      throw new Error(`${seen} of ${events} events, ${disordered} out of order, ${cut} connections cut`)
  }
  return used / events / times
}

async function returning(settings: Settings): Promise<Table> {
  const lengths = [1_000, 10_000, 100_000, ...(settings.full ? [1_000_000] : [])].map((most) =>
    Math.max(2 * BEHIND, Math.round(most / settings.scale)),
  )
  const size = Math.round(RETURNING / settings.scale)
  await using all = new Processes()
  const load = all.use(startLoad(settings))
  const started = new Map<string, { server: GrowthServer; port: number }>()
  for (const length of lengths) {
    const server = all.use(startServer(settings))
    const port = await server.call('start', 10, length + 1_000)
    await server.call('record', length, 100)
    started.set(`${text(length)} events`, { server, port })
    // Until it costs what it will.
    for (let n = 0; n < 5; n++) await comeBack(server, port, load, size)
  }
  const names = [...started.keys()]
  const runs: Runs<number> = await interleaved(names, roundsOf(settings, 7, 9), async (name) => {
    const { server, port } = started.get(name) ?? missing(name)
    const found = await comeBack(server, port, load, size)
    say(`  ${name}: ${found.toFixed(0)} µs for each that comes back`)
    return found
  })
  return {
    id: 'growth-resume',
    title: `Growth: ${text(size)} clients come back, ${BEHIND} events behind the newest of a log`,
    note: `Each got its ${BEHIND} events, no other and no gap, and then the one that was published next. Events of 100 B in \`memoryStore\`.`,
    columns: [
      { key: 'cpu', title: 'server CPU µs/client' },
      { key: 'ratio', title: `× ${names[0]}`, digits: 2 },
      checkedColumn,
    ],
    rows: names.map((name) => ({
      name,
      cells: cells(
        {
          cpu: measured(runs, name, (us) => us),
          ratio: ratio(runs, name, names[0] ?? '', (us) => us),
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
  }
}

/** CPU for each client that comes back, from its request to the last of the events that it missed, in microseconds. */
async function comeBack(server: GrowthServer, port: number, load: Load, size: number): Promise<number> {
  const { cursor, next } = await server.call('place', BEHIND)
  await server.call('begin')
  await load.call('open', port, size, { path: '/log', headers: { 'last-event-id': cursor }, first: next })
  await load.call('until', BEHIND * size, LIMIT_MS)
  const used = await server.call('used')
  await has(server, size)
  await server.call('record', 1, 100)
  const live = (BEHIND + 1) * size
  const { events, disordered } = await load.call('until', live, LIMIT_MS)
  const gaps = await server.call('gaps')
  if (events !== live || disordered > 0 || gaps > 0)
    throw new Error(`${events} of ${live} events, ${disordered} out of order, ${gaps} gaps`)
  await load.call('close')
  await has(server, 0)
  return used / size
}

/** What runs until the measurement is over. */
export class Processes implements AsyncDisposable {
  readonly #running: AsyncDisposable[] = []

  use<T extends AsyncDisposable>(process: T): T {
    this.#running.push(process)
    return process
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map((process) => process[Symbol.asyncDispose]()))
  }
}

const checkedColumn: Column = { key: 'checked', title: 'checked' }

function startServer({ node, pin }: Settings): GrowthServer {
  return new Child<GrowthVerbs>('server/growth.ts', [], { node, core: pin ? 0 : undefined })
}

/** Waits until it has so many connections. */
export async function has(server: GrowthServer, count: number): Promise<void> {
  for (let tries = 0; (await server.call('connections')) !== count; tries++) {
    if (tries > 500) throw new Error(`${await server.call('connections')} connections instead of ${count}`)
    await pause(20)
  }
}

function text(count: number): string {
  return count.toLocaleString('en-US')
}

function missing(name: string): never {
  throw new Error(`no server for ${name}`)
}
