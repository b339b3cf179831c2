// A million clients of twenty processes, on virtual time: npm run bench:scale
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomFrom } from '../src/testing/simulate.js'
import { lines } from './chart.js'
import { type CrowdReport, simulateCrowd, type Waiting } from './crowd.js'
import { crowded, stories } from './incidents.js'
import { markdown, type Row, type Table } from './table.js'

const [given = '1000000', out = 'bench/results'] = process.argv.slice(2)
const clients = Number(given)
// The same charts from the same code.
Math.random = randomFrom(1)

interface Setting {
  readonly name: string
  readonly waiting: Waiting
  readonly retryMs?: readonly [number, number]
}

const SETTINGS: Setting[] = [
  { name: 'steady-sse', waiting: 'steady-sse' },
  { name: 'steady-sse, to 30 s', waiting: 'steady-sse', retryMs: [1_000, 30_000] },
  { name: 'EventSource, 3 s', waiting: 'native EventSource' },
  { name: 'exponential, no jitter', waiting: 'exponential, no jitter' },
]

mkdirSync(out, { recursive: true })
const tables: Table[] = []
for (const { name, title, options } of stories(clients)) {
  const found = SETTINGS.map((setting) => ({
    name: setting.name,
    report: simulateCrowd({ ...options, ...setting }),
  }))
  tables.push(tableOf(name, title, found))
  const drawn = found.map((each) => ({ name: each.name, values: Array.from(each.report.attempts) }))
  const chart = { title: `${clients.toLocaleString('en-US')} clients: ${title}`, stepS: 1, unit: 'attempts per second' }
  writeFileSync(join(out, `scale-${name}.svg`), lines({ ...chart, lines: drawn }))
}
const [deploy] = stories(clients).slice(-1)
if (deploy) {
  const lastsMs = 1_200_000
  const evenness = [undefined, 600_000].map((maxAgeMs): Row => {
    const report = simulateCrowd({ ...deploy.options, lastsMs, waiting: 'steady-sse', ...(maxAgeMs && { maxAgeMs }) })
    const { connections } = report
    const after = report.attempts.subarray(300)
    return {
      name: maxAgeMs ? 'maxAgeMs: 600_000' : 'no maxAgeMs',
      cells: {
        least: Math.min(...connections),
        most: Math.max(...connections),
        attempts: Math.round(sum(after) / after.length),
        peak: most(after),
      },
    }
  })
  tables.push({
    id: 'scale-age',
    title: '17 minutes after that deploy: connections of a process',
    columns: [
      { key: 'least', title: 'least' },
      { key: 'most', title: 'most' },
      { key: 'attempts', title: 'attempts/s meanwhile' },
      { key: 'peak', title: 'most attempts/s' },
    ],
    rows: evenness,
  })
}
tables.push(retryTable())
const text = tables.map(markdown).join('\n')
writeFileSync(join(out, 'scale.md'), `# ${clients.toLocaleString('en-US')} clients of 20 processes\n\n${text}`)
console.log(text)

function most(values: Float64Array): number {
  return values.reduce((a, b) => Math.max(a, b), 0)
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0)
}

function liveAfter({ allLiveMs }: CrowdReport): number | string {
  return allLiveMs < 0 ? 'not in this time' : allLiveMs / 1_000
}

/** What a wider `retryMs` gives, and what it costs. */
function retryTable(): Table {
  const ranges: (readonly [number, number])[] = [
    [1_000, 5_000],
    [1_000, 15_000],
    [1_000, 30_000],
    [1_000, 60_000],
  ]
  const rows = [clients / 100, clients / 10, clients].flatMap((crowd) =>
    ranges.map((retryMs): Row => {
      const [atOnce, later] = [500, 5_000].map((awayMs) =>
        simulateCrowd({ ...crowded(crowd, awayMs), waiting: 'steady-sse', retryMs }),
      ) as [CrowdReport, CrowdReport]
      const all = sum(atOnce.attempts)
      return {
        name: `${crowd.toLocaleString('en-US')}, retryMs: [${retryMs.map((ms) => ms.toLocaleString('en-US').replace(',', '_')).join(', ')}]`,
        cells: {
          peak: most(atOnce.attempts),
          densest: atOnce.densest,
          part: (100 * atOnce.densest) / all,
          perClient: all / crowd,
          live: liveAfter(atOnce),
          laterPerClient: sum(later.attempts) / crowd,
          laterLive: liveAfter(later),
        },
      }
    }),
  )
  return {
    id: 'scale-retry',
    title: 'All processes restart, with ranges of `retryMs`',
    note: '20 processes, each of which lets in 5,000 a second; back at once, or away for 5 s.',
    columns: [
      { key: 'peak', title: 'most attempts/s' },
      { key: 'densest', title: 'most in 100 ms' },
      { key: 'part', title: 'of all, %', digits: 2 },
      { key: 'perClient', title: 'attempts/client', digits: 2 },
      { key: 'live', title: 'all live after s', digits: 1 },
      { key: 'laterPerClient', title: 'away 5 s: attempts/client', digits: 2 },
      { key: 'laterLive', title: 'all live after s', digits: 1 },
    ],
    rows,
  }
}

function tableOf(id: string, title: string, found: readonly { name: string; report: CrowdReport }[]): Table {
  return {
    id: `scale-${id}`,
    title: `${title[0]?.toUpperCase()}${title.slice(1)}`,
    columns: [
      { key: 'peak', title: 'most attempts/s' },
      { key: 'densest', title: 'most in 100 ms' },
      { key: 'perClient', title: 'attempts/client', digits: 2 },
      { key: 'failed', title: 'of them failed, %', digits: 1 },
      { key: 'live', title: 'all live after s', digits: 1 },
    ],
    rows: found.map(({ name, report }) => {
      const all = sum(report.attempts)
      const failed = sum(report.failed)
      return {
        name,
        cells: {
          peak: most(report.attempts),
          densest: report.densest,
          perClient: all / clients,
          failed: (100 * failed) / Math.max(1, all),
          live: liveAfter(report),
        },
      }
    }),
  }
}
