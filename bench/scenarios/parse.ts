// What a client takes in, on its own core.
import { Child } from '../child.js'
import type { ClientVerbs } from '../parse/client.js'
import type { Chunks, SourceVerbs } from '../parse/source.js'
import { cells, interleaved, measured, ratio, say } from '../rig.js'
import type { Settings } from '../settings.js'
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

export async function parse(settings: Settings): Promise<Table[]> {
  const tables: Table[] = []
  for (const shape of SHAPES) tables.push(await parseOf(settings, shape))
  return tables
}

async function parseOf(settings: Settings, shape: Shape): Promise<Table> {
  const count = Math.max(1, Math.round(shape.count / settings.scale))
  const pinned = settings.pin ? [0, 1] : []
  await using source = new Child<SourceVerbs>('parse/source.ts', [], { core: pinned[1] })
  const port = await source.call('start')
  const bytes = await source.call('make', count, shape.bytes, shape.chunks)
  const url = `http://127.0.0.1:${port}/`
  await using probe = new Child<ClientVerbs>('parse/client.ts', [], { node: settings.node })
  const names = (await probe.call('names')).filter((name) => shape.count > 1 || name !== NOT_FOR_HUGE)
  const repeats = shape.count === 1 ? 5 : 1
  const runs = await interleaved(names, settings.rounds, async (name) => {
    await using client = new Child<ClientVerbs>('parse/client.ts', [], { node: settings.node, core: pinned[0] })
    await client.call('read', name, url, count)
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
    charts: [{ key: 'mb', title: `Client, ${shape.title}: MB per second` }],
  }
}
