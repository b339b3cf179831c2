import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

interface Entry {
  readonly types: string
  readonly default: string
}

const run = promisify(execFile)
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, Entry | string> }
const entries = Object.entries(manifest.exports).flatMap(([key, entry]) =>
  typeof entry === 'object' ? [{ name: key.replace(/^\./, 'steady-sse'), ...entry }] : [],
)
const names = entries.map(({ name }) => name)
const browserFiles = entries.filter(({ name }) => name.includes('/browser/')).map((entry) => entry.default)

/** A folder outside of the repository in which the packed package is installed, with what it depends on, and nothing else. */
let consumer = ''
let packed: string[] = []

beforeAll(async () => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])
  packed = filesOf(JSON.parse(stdout)).sort()
  consumer = mkdtempSync(join(tmpdir(), 'steady-sse-'))
  for (const path of packed) cpSync(path, join(consumer, 'node_modules/steady-sse', path))
  for (const name of dependenciesOf('package.json')) {
    cpSync(join('node_modules', name), join(consumer, 'node_modules', name), { recursive: true })
  }
})

/** What a package depends on, and what that does. */
function dependenciesOf(path: string): string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(path, 'utf8')) as { dependencies?: object }
  return Object.keys(dependencies).flatMap((name) => [name, ...dependenciesOf(`node_modules/${name}/package.json`)])
}

afterAll(() => {
  if (consumer) rmSync(consumer, { recursive: true })
})

test.each(names)('%s exports the names that are listed, and its declarations say the same', async (name) => {
  const { values, types } = declared(typesOf(name))
  const real = await inConsumer(`console.log(Object.keys(await import('${name}')).sort().join())`)
  expect(real.split(',').filter(Boolean)).toEqual(values)
  expect({ values, types }).toMatchSnapshot()
})

test('SseError is the same class whichever entry it comes from', async () => {
  const withError = entries.filter(
    ({ name, types }) => !name.includes('/browser/') && declared(types).values.includes('SseError'),
  )
  expect(withError.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['steady-sse', 'steady-sse/client', 'steady-sse/server']),
  )
  const imports = withError.map(({ name }) => `(await import('${name}')).SseError`)
  expect(await inConsumer(`console.log(new Set([${imports.join()}]).size)`)).toBe('1')
})

test('require() brings the same module as import: there is no top-level await', async () => {
  const code = `
    const names = ${JSON.stringify(names)}
    const check = async (name) => { if (require(name) !== await import(name)) throw new Error(name) }
    Promise.all(names.map(check)).then(() => console.log('same'))`
  expect(await inConsumer(code, 'commonjs')).toBe('same')
})

test('importing every entry starts nothing and draws no randomness, and the process ends by itself', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', importsOnly(names)], {
    cwd: consumer,
    timeout: 10_000,
  })
  expect(stdout.trim()).toBe('touched: nothing')
})

describe('what is in the files', () => {
  const files = () =>
    packed.filter((path) => path.startsWith('dist/')).map((path) => ({ path, text: readFileSync(path, 'utf8') }))

  test('the package holds its built files and its papers, and nothing else', () => {
    const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'THIRD-PARTY.md', 'package.json']
    expect(packed.filter((path) => !/^dist\/[\w/.-]+\.(js|d\.ts)$/.test(path))).toEqual(papers)
    expect(packed).toEqual(
      expect.arrayContaining(entries.flatMap((entry) => [entry.types, entry.default].map(inPackage))),
    )
  })

  test('the client imports no package and nothing of node; the outbox, only its queue', () => {
    for (const name of ['steady-sse', 'steady-sse/client', 'steady-sse/outbox']) {
      const entry = entries.find((each) => each.name === name)
      const imports = name === 'steady-sse/outbox' ? ['p-queue'] : []
      if (entry)
        expect({ name, imports: importedBy(inPackage(entry.default)).filter(isOutside) }).toEqual({ name, imports })
    }
  })

  test('a browser file imports nothing at all', () => {
    expect(browserFiles.length).toBeGreaterThan(0)
    for (const path of browserFiles)
      expect({ path, imports: importedBy(inPackage(path)) }).toEqual({ path, imports: [] })
  })

  test('no code and no declaration imports a package that is not installed with ours', () => {
    const { dependencies = {}, peerDependencies = {} } = manifest as Record<string, Record<string, string> | undefined>
    const known = Object.keys({ ...dependencies, ...peerDependencies })
    const imports = files().flatMap(({ path, text }) =>
      specifiers(text)
        .filter((name) => isOutside(name) && !name.startsWith('node:') && !known.includes(name))
        .map((name) => `${path}: ${name}`),
    )
    expect(imports).toEqual([])
  })

  test('no file names a place on the machine that built it', () => {
    const places = [process.cwd(), homedir(), tmpdir(), resolve('..')]
      .filter((place) => place.length > 1)
      .map((place) => `${place}/`)
    const found = files().flatMap(({ path, text }) =>
      places.filter((place) => text.includes(place)).map((place) => `${path}: ${place}`),
    )
    expect(found).toEqual([])
  })

  test('the licence of the code that is compiled in is in the package', () => {
    const papers = readFileSync('THIRD-PARTY.md', 'utf8')
    for (const path of ['eventsource-parser/LICENSE', 'p-queue/license', 'p-timeout/license', 'eventemitter3/LICENSE'])
      expect(papers).toContain(readFileSync(`node_modules/${path}`, 'utf8').trim())
  })
})

test('the lock file names no registry, and every optional package of every platform', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>
  }
  const all = Object.entries(packages)
  expect(all.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([])
  // `npm ci` refuses a lock file from which one is missing, wherever it runs.
  const has = (name: string) => all.some(([path]) => path.endsWith(`node_modules/${name}`))
  const optional = all.flatMap(([, { optionalDependencies = {} }]) => Object.keys(optionalDependencies))
  expect(optional.filter((name) => !has(name))).toEqual([])
})

/** npm 12 and later name the package before its files. */
function filesOf(report: unknown): string[] {
  const [pack] = Object.values(report as Record<string, { files: { path: string }[] }>)
  return pack?.files.map(({ path }) => path) ?? []
}

async function inConsumer(code: string, type: 'module' | 'commonjs' = 'module'): Promise<string> {
  const { stdout } = await run(process.execPath, [`--input-type=${type}`, '--eval', code], {
    cwd: consumer,
    timeout: 30_000,
  })
  return stdout.trim()
}

/** Code that imports the entries and prints what they touched meanwhile. */
function importsOnly(list: readonly string[]): string {
  return `
    import crypto from 'node:crypto'
    import http from 'node:http'
    import net from 'node:net'
    import { syncBuiltinESMExports } from 'node:module'
    const touched = new Set()
    const spy = (owner, name) => {
      const original = owner[name]
      owner[name] = function (...given) { touched.add(name); return Reflect.apply(original, this, given) }
    }
    for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'fetch', 'addEventListener']) if (globalThis[name]) spy(globalThis, name)
    for (const name of ['randomBytes', 'randomUUID', 'randomFillSync', 'randomInt']) spy(crypto, name)
    for (const name of ['getRandomValues', 'randomUUID']) spy(globalThis.crypto, name)
    for (const name of ['on', 'once', 'addListener', 'emitWarning']) spy(process, name)
    spy(Math, 'random')
    spy(http, 'createServer')
    spy(net, 'connect')
    syncBuiltinESMExports()
    for (const name of ${JSON.stringify(list)}) await import(name)
    console.log('touched: ' + ([...touched].join() || 'nothing'))`
}

let program: ts.Program | undefined

/** The names that a declaration file exports. */
function declared(types: string): { values: string[]; types: string[] } {
  program ??= ts.createProgram(
    entries.map((entry) => inPackage(entry.types)),
    { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, skipLibCheck: true, types: [] },
  )
  const checker = program.getTypeChecker()
  const file = program.getSourceFile(inPackage(types))
  const symbol = file && checker.getSymbolAtLocation(file)
  const all = (symbol ? checker.getExportsOfModule(symbol) : []).map((each) => ({
    name: each.name,
    flags: each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each).flags : each.flags,
  }))
  const named = (isWanted: (flags: ts.SymbolFlags) => boolean) =>
    all
      .filter(({ flags }) => isWanted(flags))
      .map(({ name }) => name)
      .sort()
  return {
    values: named((flags) => (flags & ts.SymbolFlags.Value) !== 0),
    types: named((flags) => (flags & ts.SymbolFlags.Value) === 0),
  }
}

/** All that a built file imports, itself and through the files that it imports. */
function importedBy(path: string, seen = new Set<string>()): string[] {
  if (seen.has(path)) return []
  seen.add(path)
  const found = specifiers(readFileSync(path, 'utf8'))
  const beside = found.filter((name) => !isOutside(name)).map((name) => join(path, '..', name))
  return [...found, ...beside.flatMap((each) => importedBy(each, seen))]
}

function specifiers(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
}

const typesOf = (entry: string) => entries.find(({ name }) => name === entry)?.types ?? ''
const isOutside = (specifier: string) => !specifier.startsWith('.')
const inPackage = (path: string) => path.replace(/^\.\//, '')
