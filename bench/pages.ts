// Puts what was measured into the pages, between marks: npm run bench -- --pages
import { readFileSync, writeFileSync } from 'node:fs'
import { all, nodeTables, type Results } from './report.js'
import { grid, type Row, show, type Table, value } from './table.js'
import { cellOf, targets } from './targets.js'

const PAGES = ['README.md', 'docs/speed.md']
/** The oldest Node that is supported is the one that the pages tell of. */
const NODE = 20
const MARKED = /(<!-- bench: (\S+) ?([^>]*?) -->\n)[\s\S]*?(<!-- \/bench -->)/g

/** Writes the tables of the pages anew from the results of a folder. Returns the pages that changed. */
export function writePages(folder: string): string[] {
  const results = all(folder)
  return PAGES.filter((path) => {
    const before = readFileSync(path, 'utf8')
    const after = before.replace(
      MARKED,
      (_, begin: string, name: string, columns: string, end: string) =>
        `${begin}${block(results, name, columns.split(' ').filter(Boolean))}\n${end}`,
    )
    if (after !== before) writeFileSync(path, after)
    return after !== before
  })
}

/** @param columns - the columns of the table that are wanted; none: all. */
function block(results: readonly Results[], name: string, columns: readonly string[]): string {
  const own = results.find(({ node }) => Number.parseInt(node, 10) === NODE)
  if (name === 'machine') return own ? `Node ${own.node} on ${own.machine}.` : 'Not measured.'
  if (name === 'targets') return grid(targets(results))
  if (name === 'summary') return grid(summary(results))
  if (name.startsWith('nodes-')) {
    const beside = nodeTables(results).find(({ id }) => `nodes-${id}` === name)
    return beside ? grid(beside) : 'Not measured.'
  }
  const table = own?.tables.find(({ id }) => id === name)
  if (!table) return 'Not measured.'
  const wanted = columns.length === 0 ? table.columns : table.columns.filter(({ key }) => columns.includes(key))
  return grid({ ...table, columns: wanted })
}

const PEERS = ['res.write', 'better-sse', 'better-sse batch', '@fastify/sse', 'hono', 'h3']

/** For those who want one look: how many times as fast, or as cheap, this is as each of the others. */
function summary(results: readonly Results[]): Table {
  const row = (name: string, table: string, times: (ratio: number) => number): Row => ({
    name,
    cells: Object.fromEntries(
      PEERS.map((peer) => {
        const ratio = value(cellOf(results, { table, row: peer, key: 'own' }, NODE))
        return [peer, ratio === undefined ? '–' : `${show(times(ratio), times(ratio) < 10 ? 1 : 0)} ×`]
      }),
    ),
  })
  return {
    id: 'summary',
    title: '',
    columns: PEERS.map((peer) => ({ key: peer, title: peer })),
    rows: [
      row('one connection: events per second', 'flat-120', (ratio) => ratio),
      row('1,000 connections: events for the same CPU', 'fan-out-1000', (ratio) => 1 / ratio),
      row('bursts of 100 to 1,000: events for the same CPU', 'burst', (ratio) => 1 / ratio),
    ],
  }
}
