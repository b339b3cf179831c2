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

export function markdown(table: Table): string {
  const { title, note } = table
  return [`### ${title}`, '', ...(note ? [note, ''] : []), grid(table), ''].join('\n')
}

/** The bare table, in Markdown, with columns as wide as what stands in them. */
export function grid({ columns, rows }: Table): string {
  const texts = [['', ...columns.map(({ title }) => title)], ...rows.map((row) => textsOf(row, columns))]
  const widths = texts[0]?.map((_, column) => Math.max(3, ...texts.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]) => `| ${row.map((text, column) => padded(text, column, widths)).join(' | ')} |`
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  const [head = [], ...body] = texts
  return [line(head), rule, ...body.map(line)].join('\n')
}

function textsOf({ name, cells }: Row, columns: readonly Column[]): string[] {
  return [name, ...columns.map(({ key, digits }) => show(cells[key], digits))]
}

function padded(text: string, column: number, widths: readonly number[]): string {
  const width = widths[column] ?? 0
  return column === 0 ? text.padEnd(width) : text.padStart(width)
}

export function plain({ title, note, columns, rows }: Table): string {
  const texts = [['', ...columns.map((column) => column.title)], ...rows.map((row) => textsOf(row, columns))]
  const widths = (texts[0] ?? []).map((_, column) => Math.max(...texts.map((row) => row[column]?.length ?? 0)))
  const lines = texts.map((row) => row.map((text, column) => padded(text, column, widths)).join('  '))
  return [`\n${title}`, ...(note ? [note] : []), ...lines].join('\n')
}
