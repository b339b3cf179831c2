import { execFileSync, spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'

/** How a run of the benchmarks was asked for. */
export interface Settings {
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[]
  readonly rounds: number
  /** The long form: the sizes of the targets, everywhere. */
  readonly full: boolean
  /** The Node that runs the server under test (and the client under test). */
  readonly node: string
  /** What that Node says of itself, without the `v`. */
  readonly version: string
  /** Whether server and load are each held to a core of their own. */
  readonly pin: boolean
  /** Where results go. */
  readonly out: string
  /** How many connections the limit of open files leaves room for. */
  readonly maxConnections: number
  /** Sizes are divided by this, to try out the harness itself. */
  readonly scale: number
}

export const USAGE = `npm run bench -- [--only flat,burst] [--rounds 3] [--full] [--node /path/to/node] [--no-pin] [--scale 10] [--out bench/results]`

export function readSettings(args: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string', default: '3' },
      full: { type: 'boolean', default: false },
      node: { type: 'string', default: process.execPath },
      'no-pin': { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
      scale: { type: 'string', default: '1' },
    },
  })
  const version = execFileSync(values.node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
  return {
    only: values.only.flatMap((names) => names.split(',')),
    rounds: Math.max(1, Number(values.rounds)),
    full: values.full,
    node: values.node,
    version,
    pin: !values['no-pin'],
    out: values.out,
    maxConnections: openFiles() - 200,
    scale: Math.max(1, Number(values.scale)),
  }
}

/** Node raises its own soft limit to the hard one. */
function openFiles(): number {
  const limit = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout?.trim()
  return limit === 'unlimited' ? 1_000_000 : Number(limit) || 1_024
}
