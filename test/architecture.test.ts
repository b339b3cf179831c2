import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

// What each folder of src may import: itself where it is named, never what stands above it.
const LAYERS: Record<string, readonly string[]> = {
  protocol: ['protocol'],
  server: ['protocol', 'server'],
  stores: ['protocol'],
  client: ['protocol', 'client'],
  adapters: ['protocol', 'server', 'adapters'],
  doctor: ['protocol', 'client', 'doctor'],
  testing: ['protocol', 'server', 'stores', 'client', 'adapters', 'doctor', 'testing'],
  // src/index.ts, the wire
  '': ['protocol'],
}
const MAY_IMPORT_NODE = ['adapters', 'doctor', 'testing']
const MAY_IMPORT_PACKAGES: Record<string, readonly string[]> = {
  'client/read.ts': ['eventsource-parser'],
  'client/outbox-lanes.ts': ['p-queue'],
  // Frameworks for their types alone: the package test sees to it that no code of theirs is pulled in.
  'adapters/express.ts': ['express'],
  'adapters/fastify.ts': ['fastify'],
  'adapters/hono.ts': ['hono'],
}
const OWNS_TIME = 'protocol/clock.ts'
const MAX_LINES = 300

interface Import {
  readonly line: number
  readonly specifier: string
  /** The file that is meant, relative to src; none for a package. */
  readonly target: string | undefined
}

interface Source {
  /** Relative to src. */
  readonly path: string
  readonly layer: string
  readonly text: string
  readonly ast: ts.SourceFile
  readonly imports: readonly Import[]
}

const sources: readonly Source[] = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map(read)

test('src has sources to look at, each in a known layer', () => {
  expect(sources.length).toBeGreaterThan(0)
  expect(
    sources.flatMap(({ path, layer }) => (LAYERS[layer] ? [] : [`${path}: the layer ${layer} is unknown`])),
  ).toEqual([])
})

test('imports only go downwards', () => {
  const wrong = importsThat(
    (target, _, { path, layer }) =>
      target !== undefined && !LAYERS[layer]?.includes(layerOf(target)) && !isPartOfStore(path, target),
  )
  expect(wrong).toEqual([])
})

test('every import of a file leads to one in src', () => {
  expect(importsThat((target) => target !== undefined && !existsSync(join('src', target)))).toEqual([])
})

test('nothing in src imports an index.ts', () => {
  expect(importsThat((target) => target !== undefined && posix.basename(target) === 'index.ts')).toEqual([])
})

test('the modules of node are imported by adapters, doctor and testing only', () => {
  const wrong = importsThat((_, name, { layer }) => name.startsWith('node:') && !MAY_IMPORT_NODE.includes(layer))
  expect(wrong).toEqual([])
})

test('other packages are imported only where this test says so', () => {
  const wrong = importsThat(
    (target, name, { path }) =>
      target === undefined && !name.startsWith('node:') && !MAY_IMPORT_PACKAGES[path]?.includes(name),
  )
  expect(wrong).toEqual([])
})

test('no imports run in a circle', () => {
  expect(circles()).toEqual([])
})

test('no file is called after nothing in particular', () => {
  const vague = /(^|[/-])(utils?|types?|common|helpers?|constants?|misc|shared)(\.ts$|\/)/
  expect(sources.map(({ path }) => path).filter((path) => vague.test(path))).toEqual([])
})

test('only protocol/clock.ts touches the time of the runtime', () => {
  const others = sources.filter(({ path }) => path !== OWNS_TIME)
  expect(others.flatMap(({ path, ast }) => timeIn(ast).map(([line, what]) => `src/${path}:${line}: ${what}`))).toEqual(
    [],
  )
})

test(`no file of src is longer than ${MAX_LINES} lines`, () => {
  const long = sources.map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
  expect(long.filter(({ lines }) => lines > MAX_LINES)).toEqual([])
})

test('no type is forced', () => {
  expect(
    sources.flatMap(({ path, text, ast }) => forcedIn(text, ast).map(([line, what]) => `src/${path}:${line}: ${what}`)),
  ).toEqual([])
})

function read(path: string): Source {
  const text = readFileSync(join('src', path), 'utf8')
  const ast = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true)
  return { path, layer: layerOf(path), text, ast, imports: importsOf(path, ast) }
}

function layerOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

/** One store does not import another, but `stores/memory.ts` may have its parts in `stores/memory-….ts`. */
function isPartOfStore(path: string, target: string): boolean {
  return layerOf(path) === 'stores' && target.startsWith(path.replace(/(-[\w-]+)?\.ts$/, '-'))
}

/** Every import, whatever its form: static, `export from`, dynamic, and `import('…')` as a type. Type imports count. */
function importsOf(path: string, ast: ts.SourceFile): Import[] {
  const found: Import[] = []
  walk(ast, (node) => {
    const named =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
            ? node.argument.literal
            : undefined
    if (!named) return
    const specifier = ts.isStringLiteralLike(named) ? named.text : named.getText()
    const target = specifier.startsWith('.')
      ? posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts')
      : undefined
    found.push({ line: lineOf(node), specifier, target })
  })
  return found
}

function timeIn(ast: ts.SourceFile): [line: number, what: string][] {
  const functions = ['setTimeout', 'setInterval', 'setImmediate']
  const methods = ['Date.now', 'performance.now', 'AbortSignal.timeout']
  const found: [number, string][] = []
  walk(ast, (node) => {
    if (ts.isCallExpression(node)) {
      const called = node.expression.getText().replace(/^(globalThis|window|self)\./, '')
      if (functions.includes(called) || methods.includes(called)) found.push([lineOf(node), `${called}(…)`])
    }
    // As a value (`const later = setTimeout`), it would be called under another name.
    if (ts.isIdentifier(node) && functions.includes(node.text) && isValue(node)) found.push([lineOf(node), node.text])
    if (ts.isNewExpression(node) && node.expression.getText() === 'Date' && !node.arguments?.length)
      found.push([lineOf(node), 'new Date()'])
  })
  return found
}

/** Whether an identifier stands for the global of its name: it is neither called, nor a property, nor a declared name. */
function isValue(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isCallExpression(parent)) return parent.expression !== node
  if (ts.isPropertyAccessExpression(parent) || ts.isTypeOfExpression(parent) || ts.isTypeQueryNode(parent)) return false
  return !('name' in parent && parent.name === node)
}

function forcedIn(text: string, ast: ts.SourceFile): [line: number, what: string][] {
  const found: [number, string][] = []
  walk(ast, (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword) found.push([lineOf(node), 'any'])
    if (ts.isAsExpression(node) && ts.isAsExpression(node.expression) && node.expression.type.getText() === 'unknown')
      found.push([lineOf(node), 'as unknown as'])
  })
  for (const [index, line] of text.split('\n').entries()) {
    const directive = /@ts-(ignore|expect-error|nocheck)/.exec(line)
    if (directive) found.push([index + 1, directive[0]])
  }
  return found
}

function circles(): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path)) found.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    if (done.has(path) || trail.includes(path)) return
    for (const { target } of byPath.get(path)?.imports ?? []) if (target) visit(target, [...trail, path])
    done.add(path)
  }
  for (const { path } of sources) visit(path, [])
  return found
}

/** The imports for which `is` holds, as the place and what is imported there. */
function importsThat(is: (target: string | undefined, specifier: string, source: Source) => boolean): string[] {
  return sources.flatMap((source) =>
    source.imports
      .filter(({ target, specifier }) => is(target, specifier, source))
      .map(({ line, specifier }) => `src/${source.path}:${line}: imports ${specifier}`),
  )
}

function lineOf(node: ts.Node): number {
  const file = node.getSourceFile()
  return file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}
