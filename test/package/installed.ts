import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Installs the packed package as strangers do, and makes projects that have it. */
export interface Installation extends Disposable {
  /** The packages that came with it, itself among them. */
  readonly packages: readonly string[]
  /** A new project with these files, in which the package is installed and `linked` packages are borrowed from here. */
  project(files: Record<string, string>, linked?: readonly string[]): Project
}

export interface Project {
  readonly folder: string
  /** Runs a file of the project, and returns what it prints. */
  node(...args: readonly string[]): Promise<string>
  /** The TypeScript of this repository. Returns its complaints. */
  tsc(options: object, file: string): Promise<string>
}

export async function install(): Promise<Installation> {
  const root = mkdtempSync(join(tmpdir(), 'steady-sse-install-'))
  const first = join(root, 'first')
  mkdirSync(first)
  writeFileSync(join(first, 'package.json'), '{ "private": true }')
  try {
    const pack = await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', root])
    const tarball = join(root, pack.stdout.trim())
    const options = [
      '--prefer-offline',
      '--fetch-retries=1',
      '--fetch-retry-mintimeout=1000',
      '--no-audit',
      '--no-fund',
    ]
    await run('npm', ['install', ...options, tarball], { cwd: first, timeout: 50_000 })
  } catch (error) {
    rmSync(root, { recursive: true })
    throw error
  }
  const lock = JSON.parse(readFileSync(join(first, 'package-lock.json'), 'utf8')) as { packages: object }
  const packages = Object.keys(lock.packages).flatMap((path) => path.split('node_modules/').slice(-1)[0] || [])
  let count = 0
  return {
    packages,
    project(files, linked = []) {
      const folder = join(root, `project-${++count}`)
      cpSync(join(first, 'node_modules'), join(folder, 'node_modules'), { recursive: true })
      for (const name of linked) {
        const at = join(folder, 'node_modules', name)
        mkdirSync(dirname(at), { recursive: true })
        symlinkSync(resolve('node_modules', name), at)
      }
      for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text)
      return projectIn(folder)
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

function projectIn(folder: string): Project {
  const node = async (...args: readonly string[]) => {
    const { stdout } = await run(process.execPath, [...args], { cwd: folder, timeout: 30_000 })
    return stdout.trim()
  }
  return {
    folder,
    node,
    async tsc(options, file) {
      const compilerOptions = { target: 'es2022', strict: true, noEmit: true, types: [], ...options }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
      const compiler = resolve('node_modules/typescript/bin/tsc')
      return node(compiler, '-p', '.').catch((error: { stdout?: string }) => error.stdout || String(error))
    },
  }
}
