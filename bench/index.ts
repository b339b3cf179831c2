// Side by side with others, and with Node alone: npm run bench
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { bars } from './chart.js'
import { scenarios } from './scenarios.js'
import { readSettings, USAGE } from './settings.js'
import { markdown, plain, show, type Table, value } from './table.js'

/** What is written, and read again when only a part is measured anew. */
interface Results {
  node: string
  machine: string
  tables: Table[]
}

const settings = readSettings(process.argv.slice(2))
const unknown = settings.only.filter((name) => !(name in scenarios))
if (unknown.length > 0) {
  console.error(`There is no ${unknown.join()}. There are: ${Object.keys(scenarios).join(', ')}\n${USAGE}`)
  process.exit(2)
}
const begun = performance.now()
console.error(
  `Node ${settings.version}, ${availableParallelism()} cores, ${settings.rounds} rounds, ${settings.full ? 'full' : 'short'} form, room for ${settings.maxConnections} connections`,
)
const tables: Table[] = []
for (const [name, run] of Object.entries(scenarios)) {
  if (settings.only.length > 0 && !settings.only.includes(name)) continue
  const from = performance.now()
  console.error(`\n${name}`)
  try {
    const found = await run(settings)
    for (const table of found) console.log(plain(table))
    tables.push(...found)
  } catch (error) {
    console.error(`${name} failed:`, error)
    process.exitCode = 1
  }
  console.error(`${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s`)
}
write()
console.error(`\n${((performance.now() - begun) / 1_000).toFixed(0)} s; written to ${settings.out}`)

function write(): void {
  mkdirSync(settings.out, { recursive: true })
  const base = join(settings.out, `node-${settings.version}`)
  const results: Results = {
    node: settings.version,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    tables: [],
  }
  const before = earlier(`${base}.json`).filter(({ id }) => !tables.some((table) => table.id === id))
  results.tables = [...before, ...tables]
  writeFileSync(`${base}.json`, `${JSON.stringify(results, null, 1)}\n`)
  const head = `# Node ${results.node}\n\nMedians (least–most). ${results.machine}; server and load in two processes, contenders interleaved.\n`
  writeFileSync(`${base}.md`, [head, ...results.tables.map(markdown)].join('\n'))
  for (const table of tables) {
    for (const { key, title } of table.charts ?? []) {
      const digits = table.columns.find((column) => column.key === key)?.digits
      const drawn = table.rows.flatMap(({ name, cells }) => {
        const cell = cells[key]
        const length = value(cell)
        if (cell === undefined || length === undefined) return []
        const whiskers = typeof cell === 'object' ? { min: cell.min, max: cell.max } : {}
        return [{ name, value: length, ...whiskers, label: show(length, digits) }]
      })
      writeFileSync(`${base}-${table.id}-${key}.svg`, bars(title, drawn))
    }
  }
}

function earlier(path: string): Table[] {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as Results).tables
  } catch {
    return []
  }
}
