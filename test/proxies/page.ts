import { readFile, writeFile } from 'node:fs/promises'
import * as kinds from './kinds.js'
import type { Verdicts } from './measure.js'
import type { PaddingVerdicts } from './padding.js'
import { fill, type ProxyKind, siteOf } from './proxy.js'

/** The page whose generated parts stand between `<!-- generated: name -->` and `<!-- end -->`. */
const PAGE = 'docs/proxies.md'

/**
 * Whether the tests write what they measured, and the configurations, into the page before they compare:
 * `STEADY_WRITE_DOCS=1 npx vitest run test/proxies --no-file-parallelism`.
 */
export const isWriting = Boolean(process.env.STEADY_WRITE_DOCS)

/** Part of the page, or undefined where it has none of that name. */
export async function partOf(name: string): Promise<string | undefined> {
  return partPattern(name).exec(await readFile(PAGE, 'utf8'))?.[2]
}

export async function writePart(name: string, text: string): Promise<void> {
  const page = await readFile(PAGE, 'utf8')
  if (!partPattern(name).test(page)) throw new Error(`${PAGE} has no part ${name}`)
  await writeFile(
    PAGE,
    page.replace(partPattern(name), (_, start: string, _old: string, end: string) => start + text + end),
  )
}

/** All parts of the page that a configuration is copied into: `block nginx/recommended`. */
export async function blockNames(): Promise<string[]> {
  const page = await readFile(PAGE, 'utf8')
  return [...page.matchAll(/<!-- generated: (block \S+) -->/g)].map(([, name = '']) => name)
}

/** A configuration as an administrator would write it. */
export async function blockOf(name: string): Promise<string> {
  const [folder = '', site = ''] = name.replace('block ', '').split('/')
  const kind = Object.values(kinds).find((each) => each.folder === folder)
  if (!kind) throw new Error(`there is no proxy ${folder}`)
  const text = fill(await siteOf(kind, site), {
    upstream: 3000,
    idle: 60,
    listen: LISTEN[folder],
    folder: '/run/nginx',
  })
  return `\n\`\`\`${LANGUAGE[folder]}\n${text.trimEnd()}\n\`\`\`\n\n`
}

const LISTEN: Record<string, string> = { nginx: '80', haproxy: ':80', caddy: 'example.com', apache: '*:80' }
const LANGUAGE: Record<string, string> = {
  nginx: 'nginx',
  haproxy: 'haproxy',
  caddy: 'caddyfile',
  apache: 'apacheconf',
  varnish: 'vcl',
}

export interface Row {
  readonly kind: ProxyKind
  readonly name: string
  /** Or why there is nothing to measure. */
  readonly verdicts: Verdicts | string
}

/** What the proxies do, in words that are the same on every machine. */
export function tableOf(rows: readonly Row[]): string {
  const head = ['proxy', 'set-up', 'head', 'first event', 'ten events', 'gzipped', 'idle stream', 'leaving', 'POST']
  const reasons = new Map<string, string[]>()
  const text = table(
    head,
    rows.map(({ kind, name, verdicts }) => {
      if (typeof verdicts === 'string') {
        const reason = `${name}: ${verdicts}`
        reasons.set(reason, [...(reasons.get(reason) ?? []), kind.name])
        return [kind.name, name, ...Array(head.length - 2).fill('n.a.')]
      }
      const { head: top, first, events, packed, idle, leaving, post } = verdicts
      return [kind.name, name, top, first, events, packed, idle, leaving, post].map(stressed)
    }),
  )
  const absent = [...reasons].map(([reason, names]) => `- n.a. for ${names.join(', ')}, ${reason}`)
  return `${text}${absent.join('\n')}\n\n`
}

export interface PaddingRow {
  readonly kind: ProxyKind
  readonly name: string
  readonly padBytes: number
  readonly verdicts: PaddingVerdicts
}

export function paddingTableOf(rows: readonly PaddingRow[]): string {
  const head = ['proxy', 'set-up', '`padBytes`', 'head', 'first frame', 'an event in a quiet stream']
  return table(
    head,
    rows.map(({ kind, name, padBytes, verdicts: { head: top, ready, event } }) =>
      [kind.name, name, String(padBytes), top, ready, event].map(stressed),
    ),
  )
}

/** What one does not want to see is seen. */
function stressed(text: string): string {
  const bad = ['held', 'cut', 'unnoticed', 'fails', 'kept, unseen', 'in bunches', 'with the next', '200 ms late']
  return bad.includes(text) ? `**${text}**` : text
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, n) => Math.max(title.length, ...rows.map((row) => row[n]?.length ?? 0)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join(' | ')} |`
  return `\n${[line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')}\n\n`
}

function partPattern(name: string): RegExp {
  return new RegExp(`(<!-- generated: ${name} -->\n)([\\s\\S]*?)(<!-- end -->)`)
}
