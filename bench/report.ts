// What was found, as it is kept: figures to be read again, tables, charts, and the Nodes beside each other.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { bars } from './chart.js'
import type { Settings } from './settings.js'
import { type Column, markdown, type Row, show, type Table, value } from './table.js'

/** What was measured on one Node. */
export interface Results {
  readonly node: string
  readonly machine: string
  readonly tables: readonly Table[]
}

/** The results of one Node in a folder. Names have the major version alone, so that pages can link to them. */
export class Report {
  readonly #settings: Settings
  readonly #base: string

  constructor(settings: Settings) {
    this.#settings = settings
    this.#base = join(settings.out, nameOf(settings.version))
  }

  /** Adds a table, in place of the one that was there. */
  add(table: Table): void {
    const { out, version } = this.#settings
    mkdirSync(out, { recursive: true })
    const before = read(`${this.#base}.json`)?.tables ?? []
    const known = before.some(({ id }) => id === table.id)
    const tables = known ? before.map((each) => (each.id === table.id ? table : each)) : [...before, table]
    const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`
    const results: Results = { node: version, machine, tables }
    writeFileSync(`${this.#base}.json`, `${JSON.stringify(results, null, 1)}\n`)
    const head = `# Node ${version}\n\nMedians (least–most). ${machine}; server and load in two processes, contenders interleaved.\n`
    writeFileSync(`${this.#base}.md`, [head, ...tables.map(markdown)].join('\n'))
    this.#draw(table)
    const nodes = '# Node by Node\n\nMedians (least–most). Each Node in a run of its own: compare ratios.\n'
    writeFileSync(join(out, 'nodes.md'), [nodes, ...nodeTables(all(out)).map(markdown)].join('\n'))
  }

  #draw(table: Table): void {
    for (const { key, title } of table.charts ?? []) {
      const digits = table.columns.find((column) => column.key === key)?.digits
      const drawn = table.rows.flatMap(({ name, cells }) => {
        const cell = cells[key]
        const length = value(cell)
        if (cell === undefined || length === undefined) return []
        const whiskers = typeof cell === 'object' ? { min: cell.min, max: cell.max } : {}
        return [{ name, value: length, ...whiskers, label: show(length, digits) }]
      })
      writeFileSync(`${this.#base}-${table.id}-${key}.svg`, bars(title, drawn))
    }
  }
}

export function nameOf(version: string): string {
  return `node-${version.split('.')[0]}`
}

/** All results of a folder, by version. */
export function all(folder: string): Results[] {
  return readdirSync(folder)
    .filter((name) => /^node-\d+\.json$/.test(name))
    .flatMap((name) => read(join(folder, name)) ?? [])
    .toSorted((a, b) => Number.parseInt(a.node, 10) - Number.parseInt(b.node, 10))
}

function read(path: string): Results | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Results
  } catch {
    return undefined
  }
}

/** The measures that are put beside each other, each a table with a column for each Node. */
const MEASURES: readonly { readonly table: string; readonly key: string; readonly title: string }[] = [
  { table: 'flat-120', key: 'perSecond', title: 'One connection flat out, 120 B: thousand events per second' },
  { table: 'flat-120', key: 'ratio', title: 'One connection flat out, 120 B: events per second, × res.write' },
  { table: 'flat-120', key: 'cpuRatio', title: 'One connection flat out, 120 B: server CPU per event, × res.write' },
  { table: 'fan-out-1000', key: 'cpu', title: 'Fan-out to 1,000: server CPU per delivery, µs' },
  { table: 'fan-out-1000', key: 'ratio', title: 'Fan-out to 1,000: server CPU per delivery, × res.write' },
  { table: 'burst', key: 'cpu', title: 'Bursts of 100 to 1,000: server CPU per delivery, µs' },
  { table: 'burst', key: 'ratio', title: 'Bursts of 100 to 1,000: server CPU per delivery, × res.write' },
  { table: 'idle', key: 'kb', title: 'Idle: KB per connection' },
  { table: 'idle', key: 'ratio', title: 'Idle: memory per connection, × a bare response' },
]

/** The same measures on each Node. */
export function nodeTables(results: readonly Results[]): Table[] {
  return MEASURES.flatMap(({ table, key, title }): Table[] => {
    const found = results.flatMap(({ node, tables: given }) => {
      const of = given.find(({ id }) => id === table)
      return of ? [{ node, of }] : []
    })
    const last = found.at(-1)?.of
    if (!last) return []
    const digits = last.columns.find((column) => column.key === key)?.digits ?? 0
    const columns = found.map(({ node }): Column => ({ key: node, title: `Node ${node}`, digits }))
    const rows = last.rows.map(({ name }): Row => {
      const cells = found.flatMap(({ node, of }) => {
        const cell = of.rows.find((row) => row.name === name)?.cells[key]
        return cell === undefined ? [] : [[node, cell] as const]
      })
      return { name, cells: Object.fromEntries(cells) }
    })
    return [{ id: `${table}-${key}`, title, columns, rows }]
  })
}
