// What a client takes in, on its own core.
import { Child } from '../child.js'
import type { ClientVerbs } from '../parse/client.js'
import type { Chunks, SourceVerbs } from '../parse/source.js'
import { cells, interleaved, measured, ratio, say } from '../rig.js'
import { roundsOf, type Settings } from '../settings.js'
import type { Table } from '../table.js'

interface Shape {
  readonly id: string
  readonly title: string
  readonly bytes: number
  readonly count: number
  readonly chunks: Chunks
}

const SHAPES: Shape[] = [
  { id: '120', title: 'events of 120 B, chunks of 64 KiB', bytes: 120, count: 200_000, chunks: '64 KiB' },
  { id: '1k', title: 'events of 1 KiB, chunks of 64 KiB', bytes: 1_024, count: 40_000, chunks: '64 KiB' },
  { id: 'tiny', title: 'events of 120 B, chunks of 1–131 B', bytes: 120, count: 50_000, chunks: 'tiny' },
  { id: '4m', title: 'one event of 4 MiB, chunks of 64 KiB', bytes: 4 * 1024 * 1024, count: 1, chunks: '64 KiB' },
]
const BASE = 'fetch + eventsource-parser'
/** Quadratic in the size of an event: minutes for one of 4 MiB. */
const NOT_FOR_HUGE = '@microsoft/fetch-event-source'

export async function* parse(settings: Settings): AsyncGenerator<Table> {
  const [own, other] = settings.pin ? [0, 1] : []
  await using source = new Child<SourceVerbs>('parse/source.ts', [], { core: other })
  const port = await source.call('start')
  await using clients = await Clients.start(settings, own)
  for (const shape of SHAPES) yield await parseOf(settings, shape, source, `http://127.0.0.1:${port}/`, clients)
}

/** Each client in a process of its own, which it keeps. */
class Clients implements AsyncDisposable {
  readonly #clients = new Map<string, Child<ClientVerbs>>()

  static async start(settings: Settings, core: number | undefined): Promise<Clients> {
    const started = new Clients()
    const start = () => new Child<ClientVerbs>('parse/client.ts', [], { node: settings.node, core })
    const first = start()
    for (const [index, name] of (await first.call('names')).entries()) {
      started.#clients.set(name, index === 0 ? first : start())
    }
    return started
  }

  get names(): string[] {
    return [...this.#clients.keys()]
  }

  get(name: string): Child<ClientVerbs> {
    const client = this.#clients.get(name)
    if (!client) throw new Error(`no client ${name}`)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#clients.values(), (client) => client[Symbol.asyncDispose]()))
  }
}

async function parseOf(
  settings: Settings,
  shape: Shape,
  source: Child<SourceVerbs>,
  url: string,
  clients: Clients,
): Promise<Table> {
  const count = Math.max(1, Math.round(shape.count / settings.scale))
  const bytes = await source.call('make', count, shape.bytes, shape.chunks)
  const names = clients.names.filter((name) => shape.count > 1 || name !== NOT_FOR_HUGE)
  const repeats = shape.count === 1 ? 5 : 1
  for (let n = 0; n < repeats; n++) {
    for (const name of names) await clients.get(name).call('read', name, url, count)
  }
  const runs = await interleaved(names, roundsOf(settings, 3), async (name) => {
    const client = clients.get(name)
    let [ms, cpuMs] = [0, 0]
    for (let n = 0; n < repeats; n++) {
      const found = await client.call('read', name, url, count)
      if (found.next !== count || found.disordered > 0)
        throw new Error(`${found.next} events, ${found.disordered} out of order`)
      ms += found.ms
      cpuMs += found.cpuMs
    }
    const mb = (repeats * bytes) / 1e6
    say(`  ${shape.id} ${name}: ${((1_000 * mb) / ms).toFixed(1)} MB/s`)
    return { mbPerSecond: (1_000 * mb) / ms, cpu: cpuMs / mb }
  })
  return {
    id: `parse-${shape.id}`,
    title: `Client: ${shape.title}`,
    note: 'Each in a process of its own, which has read as much before.',
    columns: [
      { key: 'mb', title: 'MB/s', digits: 1 },
      { key: 'ratio', title: '× fetch + parser', digits: 2 },
      { key: 'cpu', title: 'CPU ms/MB', digits: 2 },
      { key: 'cpuRatio', title: 'CPU × fetch + parser', digits: 2 },
      { key: 'checked', title: 'checked' },
    ],
    rows: names.map((name) => ({
      name,
      cells: cells(
        {
          mb: measured(runs, name, ({ mbPerSecond }) => mbPerSecond),
          ratio: ratio(runs, name, BASE, ({ mbPerSecond }) => mbPerSecond),
          cpu: measured(runs, name, ({ cpu }) => cpu),
          cpuRatio: ratio(runs, name, BASE, ({ cpu }) => cpu),
          checked: 'all, in order',
        },
        runs.failed.get(name),
      ),
    })),
    charts: [{ key: 'mb', title: `Client, ${shape.title}: MB/s (more is better)` }],
  }
}
