// What a store takes to append, and how soon another process has it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../child.js'
import { cells, say } from '../rig.js'
import { roundsOf, type Settings } from '../settings.js'
import { spread } from '../statistics.js'
import type { StoreName, StoreVerbs } from '../stores/process.js'
import type { Row, Table } from '../table.js'

const NAMES: StoreName[] = ['memory', 'sqlite', 'sqlite, synchronous normal', 'redis', 'postgres']

export async function* stores(settings: Settings): AsyncGenerator<Table> {
  const rows: Row[] = []
  for (const name of NAMES) {
    const found: Awaited<ReturnType<typeof measure>>[] = []
    try {
      for (let round = 0; round < roundsOf(settings, 2); round++) found.push(await measure(settings, name))
    } catch (error) {
      say(`  ${name}: ${error instanceof Error ? error.stack : error}`)
      rows.push({
        name,
        cells: { checked: `not measured: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}` },
      })
      continue
    }
    const of = (pick: (each: (typeof found)[number]) => number) => spread(found.map(pick))
    rows.push({
      name,
      cells: cells({
        one: of((each) => each.one),
        onePerSecond: of((each) => each.onePerSecond),
        many: of((each) => each.manyPerSecond),
        cpu: of((each) => each.cpu),
        p50: of((each) => each.p50),
        p99: of((each) => each.p99),
        checked: 'all',
      }),
    })
    say(`  ${name}: done`)
  }
  yield {
    id: 'stores',
    title: 'Stores: append, and from one process to another',
    note: 'Events of 200 B, each its own append. The delay is from before `publish` in one process to the subscriber in another (memory: in the same), one event in 3 ms.',
    columns: [
      { key: 'one', title: 'append p50 ms', digits: 3 },
      { key: 'onePerSecond', title: 'one at a time /s' },
      { key: 'many', title: '64 at a time /s' },
      { key: 'cpu', title: 'CPU µs/append', digits: 1 },
      { key: 'p50', title: 'to the other p50 ms', digits: 2 },
      { key: 'p99', title: 'p99 ms', digits: 2 },
      { key: 'checked', title: 'arrived' },
    ],
    rows,
  }
}

async function measure(settings: Settings, name: StoreName) {
  const folder = mkdtempSync(join(tmpdir(), 'steady-bench-'))
  const place = name.startsWith('sqlite') ? join(folder, 'events.db') : `steady_bench_${process.pid}_${Date.now()}`
  await using one = new Child<StoreVerbs>('stores/process.ts', [], { node: settings.node })
  await using other = new Child<StoreVerbs>('stores/process.ts', [], { node: settings.node })
  try {
    await one.call('open', name, place, true)
    // Memory is one process's own: it follows itself.
    const follower = name === 'memory' ? one : other
    if (follower === other) await other.call('open', name, place, false)
    const count = Math.round((name === 'memory' ? 20_000 : settings.full ? 2_000 : 1_000) / settings.scale)
    await one.call('append', Math.ceil(count / 5), 1)
    const single = await one.call('append', count, 1)
    const many = await one.call('append', 2 * count, 64)
    const events = Math.round((settings.full ? 500 : 300) / settings.scale)
    await follower.call('follow', events)
    await one.call('publish', events, 3)
    const delays = (await follower.call('delays')).toSorted((a, b) => a - b)
    if (delays.length !== events) throw new Error(`${delays.length} of ${events} events arrived`)
    const at = (part: number) => (delays[Math.min(delays.length - 1, Math.floor(part * delays.length))] ?? 0) / 1_000
    return {
      one: spread(single.each).median / 1_000,
      onePerSecond: (1e6 * count) / single.took,
      manyPerSecond: (1e6 * 2 * count) / many.took,
      cpu: single.cpu,
      p50: at(0.5),
      p99: at(0.99),
    }
  } finally {
    await one.call('clean').catch(() => {})
    rmSync(folder, { recursive: true, force: true })
  }
}
