// What is asked of the measurements, in one place: a row of a table, and what it must be.
import type { Results } from './report.js'
import { type Cell, type Row, show, type Table, value } from './table.js'

interface Target {
  readonly what: string
  readonly table: string
  readonly row: string
  readonly key: string
  readonly least?: number
  readonly most?: number
  readonly digits?: number
  /** Measured as a multiple of the same cell of another table. */
  readonly per?: string
  /** The Node that it is asked of. Default: 20. */
  readonly node?: number
}

const flat = { table: 'flat-120', key: 'own' }
const fanOut = { table: 'fan-out-1000', key: 'own' }
const burst = { table: 'burst', key: 'own', digits: 3 }
const client = { row: 'steady-sse', key: 'ratio' }
/** What something costs that it should not depend on: the same, within the noise. */
const same = { least: 0.85, most: 1.15 }
const among = { ...same, table: 'growth-publish', key: 'turnRatio' }
const delivered = { ...same, row: 'steady-sse', key: 'cpu', per: 'fan-out-1000' }
const behind = { ...same, table: 'growth-resume', key: 'ratio' }
const storm = { table: 'storm', row: 'steady-sse' }

const TARGETS: readonly Target[] = [
  { ...flat, what: 'one connection, events/s, × `res.write` for each', row: 'res.write', least: 2.5 },
  { ...flat, what: '× better-sse', row: 'better-sse', least: 3 },
  { ...flat, what: '× better-sse batch', row: 'better-sse batch', least: 1.2 },
  { ...flat, what: '× hono', row: 'hono', least: 8 },
  { ...flat, what: 'on Node 26, × `res.write`', row: 'res.write', least: 1, node: 26 },
  { ...fanOut, what: 'fan-out to 1,000, CPU/delivery, × `res.write`', row: 'res.write', most: 0.9 },
  { ...fanOut, what: '× better-sse', row: 'better-sse', most: 0.7 },
  { ...burst, what: 'bursts of 100, CPU/delivery, × better-sse', row: 'better-sse', most: 0.06 },
  { ...burst, what: '× better-sse batch', row: 'better-sse batch', most: 0.12 },
  { what: 'idle, memory, × a bare response', table: 'idle', row: 'steady-sse', key: 'ratio', most: 1.1 },
  {
    what: 'one in ten stalled, p99 of the others, × all read',
    table: 'slow',
    row: 'one in ten stalled',
    key: 'ratio',
    most: 1.3,
  },
  { ...client, what: 'client, 120 B, MB/s, × `fetch` + parser', table: 'parse-120', least: 0.75 },
  { ...client, what: 'client, 1 KiB', table: 'parse-1k', least: 0.9 },
  { ...storm, what: 'storm, densest 100 ms, % of attempts', key: 'densest', most: 3.5 },
  { ...storm, what: 'storm, all live after s', key: 'live', most: 6 },
  { ...storm, what: 'storm, store reads (pages + 10)', key: 'reads', most: 12, digits: 0 },
  { ...delivered, what: 'growth: CPU/delivery to 5,000, × to 1,000', table: 'fan-out-5000' },
  { ...delivered, what: 'to 10,000', table: 'fan-out-10000' },
  {
    ...same,
    what: 'heap of the later half of 10,000, × of the earlier',
    table: 'idle',
    row: 'steady-sse',
    key: 'growth',
  },
  { ...among, what: 'growth: CPU/publish, 1,000 idle connections, × none', row: '1,000 idle connections' },
  { ...among, what: '10,000 idle connections', row: '10,000 idle connections' },
  { ...among, what: '10,000 idle streams', row: '10,000 idle streams' },
  { ...behind, what: 'growth: CPU/return, a log of 100,000, × of 1,000', row: '100,000 events' },
  { ...behind, what: 'a log of 1,000,000', row: '1,000,000 events' },
]

/** Whether they hold. */
export function targets(all: readonly Results[]): Table {
  const rows = TARGETS.map((target): Row => {
    const { what, least, most, digits = 2, node = 20 } = target
    const cell = measuredOf(all, target, node)
    const found = value(cell)
    const holds = found !== undefined && found >= (least ?? -1) && found <= (most ?? Number.POSITIVE_INFINITY)
    return {
      name: what,
      cells: {
        asked: asked(target),
        measured: show(cell, digits),
        met: found === undefined ? 'not measured' : holds ? 'yes' : '**no**',
      },
    }
  })
  const columns = ['asked', 'measured', 'met'].map((key) => ({ key, title: key }))
  return { id: 'targets', title: 'What is asked, and what was measured', columns, rows }
}

function asked({ least, most }: Target): string {
  if (least === undefined) return `≤ ${most}`
  return most === undefined ? `≥ ${least}` : `${least}–${most}`
}

function measuredOf(all: readonly Results[], target: Target, node: number): Cell | undefined {
  const cell = cellOf(all, target, node)
  if (target.per === undefined) return cell
  const [over, under] = [value(cell), value(cellOf(all, { ...target, table: target.per }, node))]
  return over === undefined || under === undefined ? undefined : over / under
}

export function cellOf(
  all: readonly Results[],
  { table, row, key }: Pick<Target, 'table' | 'row' | 'key'>,
  node: number,
): Cell | undefined {
  const results = all.find(({ node: version }) => Number.parseInt(version, 10) === node)
  return results?.tables.find(({ id }) => id === table)?.rows.find(({ name }) => name === row)?.cells[key]
}
