import type { Examination } from './examine.js'
import { NAMES } from './recognise.js'
import { legend, timeline } from './timeline.js'

const MARKS = { ok: '✓', problem: '✗', unknown: '?' }
const COLOURS = { ok: 32, problem: 31, unknown: 33 }

export interface ReportOptions {
  /** Columns of the terminal. Default: 80. */
  readonly width?: number | undefined
  /** Whether to use colour. Default: `false`. */
  readonly isColoured?: boolean | undefined
}

/** An examination as a page for the terminal. */
export function report({ trace, origin, diagnosis }: Examination, options: ReportOptions = {}): string {
  const { width = 80, isColoured = false } = options
  const paint = (code: number, text: string) => (isColoured ? `\u001b[${code}m${text}\u001b[0m` : text)
  const bold = (text: string) => paint(1, text)
  const { outcome, line, reason, evidence, notes, also, recognised, mend } = diagnosis
  const out = [paint(COLOURS[outcome], `${MARKS[outcome]} ${line}`), ...wrap(reason, width, '  '), '']

  const traces = origin ? [trace, origin] : [trace]
  const overMs = Math.max(...traces.map(({ watchedMs }) => watchedMs), 1)
  const places = Math.max(20, Math.min(width, 120) - 12)
  out.push(`  ${trace.url}`, `    path    ${timeline(trace, overMs, places)}`)
  if (origin) out.push(`    origin  ${timeline(origin, overMs, places)}  ${origin.url}`)
  out.push(...wrap(legend(traces, overMs), width, '            '), '')

  const list = (title: string, lines: readonly string[]) => {
    if (lines.length > 0) out.push(bold(title), ...lines.flatMap((each) => wrap(each, width, '    ', '  - ')), '')
  }
  list('Seen', evidence)
  list('Also', [
    ...also.map((each) => `${each.replaceAll('-', ' ')}`),
    ...notes,
    ...(recognised.length > 0
      ? [`handled by ${recognised.map((each) => NAMES[each]).join(', ')}, by the answer's head or page`]
      : []),
  ])
  for (const { title, lines } of mend) out.push(bold(`Mend: ${title}`), ...lines.map((each) => `    ${each}`), '')
  return `${out.join('\n').trimEnd()}\n`
}

function wrap(text: string, width: number, indent: string, first = indent): string[] {
  const lines: string[] = []
  let line = first
  let isEmpty = true
  for (const word of text.split(' ')) {
    if (!isEmpty && line.length + 1 + word.length > width) {
      lines.push(line)
      line = indent
      isEmpty = true
    }
    line += isEmpty ? word : ` ${word}`
    isEmpty = false
  }
  lines.push(line)
  return lines
}
