// Side by side with others, and with Node alone: npm run bench
import { availableParallelism, loadavg } from 'node:os'
import { writePages } from './pages.js'
import { Report } from './report.js'
import { scenarios } from './scenarios.js'
import { readOrder, type Settings, USAGE } from './settings.js'
import { plain } from './table.js'

const { runs, pages } = readOrder(process.argv.slice(2))
const unknown = new Set(runs.flatMap(({ only }) => only.filter((name) => !(name in scenarios))))
if (unknown.size > 0) {
  console.error(`There is no ${[...unknown].join()}. There are: ${Object.keys(scenarios).join(', ')}\n${USAGE}`)
  process.exit(2)
}
if (pages) for (const page of writePages(runs[0]?.out ?? '')) console.error(`written: ${page}`)
else for (const settings of runs) await runOn(settings)

async function runOn(settings: Settings): Promise<void> {
  const begun = performance.now()
  const { version, full, maxConnections, only, out } = settings
  console.error(
    `\nNode ${version}, ${availableParallelism()} cores, ${full ? 'full' : 'short'} form, room for ${maxConnections} connections`,
  )
  const [busy = 0] = loadavg()
  if (busy > 0.7) console.error(`This machine is busy (load ${busy.toFixed(1)}): what comes out is not worth keeping.`)
  const report = new Report(settings)
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only.length > 0 && !only.includes(name)) continue
    const from = performance.now()
    console.error(`\n${name}`)
    try {
      for await (const table of scenario(settings)) {
        console.log(plain(table))
        report.add(table)
      }
    } catch (error) {
      console.error(`${name} failed:`, error)
      process.exitCode = 1
    }
    console.error(`${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s`)
  }
  console.error(`\n${((performance.now() - begun) / 1_000).toFixed(0)} s; written to ${out}`)
}
