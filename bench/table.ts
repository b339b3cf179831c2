import type { Spread } from './statistics.js'

export interface Column {
  readonly key: string
  readonly title: string
  readonly digits?: number
}

export type Cell = Spread | number | string

export interface Row {
  readonly name: string
  readonly cells: Readonly<Record<string, Cell>>
}

/** What one scenario found. */
export interface Table {
  readonly id: string
  readonly title: string
  readonly note?: string
  readonly columns: readonly Column[]
  readonly rows: readonly Row[]
  /** The columns that are drawn, each in a chart of bars. */
  readonly charts?: readonly { readonly key: string; readonly title: string }[]
}

export function value(cell: Cell | undefined): number | undefined {
  if (typeof cell === 'object') return cell.median
  return typeof cell === 'number' ? cell : undefined
}

function format(n: number, digits: number): string {
  return n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function show(cell: Cell | undefined, digits = 0): string {
  if (cell === undefined) return '–'
  if (typeof cell === 'string') return cell
  if (typeof cell === 'number') return format(cell, digits)
  const median = format(cell.median, digits)
  return cell.runs > 1 ? `${median} (${format(cell.min, digits)}–${format(cell.max, digits)})` : median
}

export function markdown({ title, note, columns, rows }: Table): string {
  const lines = rows.map(
    ({ name, cells }) => `| ${[name, ...columns.map(({ key, digits }) => show(cells[key], digits))].join(' | ')} |`,
  )
  const head = `| ${['', ...columns.map(({ title: each }) => each)].join(' | ')} |`
  const rule = `|---|${columns.map(() => '---:|').join('')}`
  return [`### ${title}`, '', ...(note ? [note, ''] : []), head, rule, ...lines, ''].join('\n')
}

export function plain({ title, note, columns, rows }: Table): string {
  const grid = [
    ['', ...columns.map((column) => column.title)],
    ...rows.map(({ name, cells }) => [name, ...columns.map(({ key, digits }) => show(cells[key], digits))]),
  ]
  const widths = (grid[0] ?? []).map((_, column) => Math.max(...grid.map((row) => row[column]?.length ?? 0)))
  const lines = grid.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  )
  return [`\n${title}`, ...(note ? [note] : []), ...lines].join('\n')
}
