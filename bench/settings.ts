import { execFileSync, spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { missing, runtimes, titleOf } from '../test/runtimes/runtimes.js'

/** How a run of the benchmarks was asked for. */
export interface Settings {
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[]
  /** How often each contender has its turn; `undefined`: as the scenario and the form have it. */
  readonly rounds: number | undefined
  /** The long form: every contender at every size, and the sizes of the targets. */
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

/** One run of the command: the same on one Node after another. */
export interface Order {
  readonly runs: readonly Settings[]
  /** Measure nothing: write the tables of the pages from the results that are there. */
  readonly pages: boolean
}

export const USAGE = `npm run bench -- [--only flat,burst] [--rounds 3] [--full] [--node /path/to/node]… [--nodes] [--pages] [--no-pin] [--scale 10] [--out bench/results]`

/** What is measured with `--nodes`, unless `--only` says otherwise. */
const ON_ALL_NODES = ['flat', 'fan-out', 'burst', 'idle']

export function readOrder(args: readonly string[]): Order {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      full: { type: 'boolean', default: false },
      node: { type: 'string', multiple: true, default: [] },
      nodes: { type: 'boolean', default: false },
      pages: { type: 'boolean', default: false },
      'no-pin': { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
      scale: { type: 'string', default: '1' },
    },
  })
  const only = values.only.flatMap((names) => names.split(','))
  const all = values.nodes ? [...values.node, ...everyNode()] : values.node
  const runs = (all.length > 0 ? all : [process.execPath]).map(
    (node): Settings => ({
      only: values.nodes && only.length === 0 ? ON_ALL_NODES : only,
      rounds: values.rounds === undefined ? undefined : Math.max(1, Number(values.rounds)),
      full: values.full,
      node,
      version: versionOf(node),
      pin: !values['no-pin'],
      out: values.out,
      maxConnections: openFiles() - 200,
      scale: Math.max(1, Number(values.scale)),
    }),
  )
  return { runs, pages: values.pages }
}

/** As asked for, or else what there is time for. */
export function roundsOf({ rounds, full }: Settings, short: number, long = 5): number {
  return rounds ?? (full ? long : short)
}

/** This one, and those that the tests run on. */
function everyNode(): string[] {
  const others = runtimes.filter(({ name }) => name === 'Node')
  for (const runtime of others) {
    const why = missing(runtime)
    if (why !== undefined) console.error(`${titleOf(runtime)} is left out: ${why}`)
  }
  return [process.execPath, ...others.filter((runtime) => missing(runtime) === undefined).map(({ program }) => program)]
}

function versionOf(node: string): string {
  return execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
}

/** Node raises its own soft limit to the hard one. */
function openFiles(): number {
  const limit = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout?.trim()
  return limit === 'unlimited' ? 1_000_000 : Number(limit) || 1_024
}
