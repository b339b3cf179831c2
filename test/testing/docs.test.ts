import { readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const testing = readFileSync('docs/testing.md', 'utf8')
const guarantees = readFileSync('docs/guarantees.md', 'utf8')

test('the example on the page about testing is the one that runs', () => {
  const [, code] = /```ts\n([\s\S]*?)```/.exec(testing) ?? []
  expect(code).toBe(readFileSync('examples/testing.ts', 'utf8'))
})

test('the table of faults says what the sources say', () => {
  const source = readFileSync('src/testing/faults.ts', 'utf8')
  const faults = [...source.matchAll(/\/\*\* (.*?) \*\/\n {2}\| \{ readonly kind: '(\w+)'(.*?) \}\n/g)].map(
    ([, comment = '', kind, fields = '']) => {
      const rest = fields.split(';').map((field) => field.replaceAll(/readonly | \| undefined/g, '').trim())
      const named = rest.filter(Boolean).map((field) => `\`${field.replaceAll('|', '\\|')}\``)
      return [`\`${kind}\``, named.join(', '), comment]
    },
  )
  expect(faults).toHaveLength(source.split('readonly kind:').length - 1)
  expect(rowsUnder(testing, 'kind')).toEqual(faults)
})

test('the page about testing names everything that a harness may have', () => {
  const source = ts.createSourceFile('', readFileSync('src/testing/store-world.ts', 'utf8'), ts.ScriptTarget.ESNext)
  const harness = source.statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === 'StoreHarness')
  const members = (harness as ts.InterfaceDeclaration).members.map(({ name }) => (name as ts.Identifier).text)
  expect(members.length).toBeGreaterThan(8)
  expect(members.filter((member) => !testing.includes(`\`${member}\``) && !testing.includes(`${member}: (`))).toEqual(
    [],
  )
})

interface Citation {
  readonly path: string
  readonly name: string
}

const citations: readonly Citation[] = [...guarantees.matchAll(/\]\(([^)]+\.ts)\): “([^”]+)”/g)].map(
  ([, path = '', name = '']) => ({ path: normalize(join('docs', path)), name }),
)

test('every test that the page of guarantees cites exists under that name', () => {
  expect(citations.length).toBeGreaterThan(50)
  const names = new Map<string, readonly string[]>()
  for (const { path } of citations) if (!names.has(path)) names.set(path, textsIn(path))
  expect(citations.filter(({ path, name }) => !names.get(path)?.some((text) => text === name))).toEqual([])
})

test.each(['test/property', 'test/controls'])('every file of %s stands behind some guarantee', (folder) => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.test.ts'))
  const cited = new Set(citations.map(({ path }) => path))
  expect(files.map((name) => join(folder, name)).filter((path) => !cited.has(path))).toEqual([])
})

/** What a file says in quotes; of a template also what follows a first `${name}: `, as in names that are made for each adapter. */
function textsIn(path: string): string[] {
  const texts: string[] = []
  const look = (node: ts.Node) => {
    if (ts.isStringLiteralLike(node)) texts.push(node.text)
    else if (ts.isTemplateExpression(node)) {
      const text = node.getText().slice(1, -1)
      texts.push(text, text.replace(/^\$\{name\}: /, ''))
    }
    node.forEachChild(look)
  }
  look(ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ESNext, true))
  return texts
}

/** The cells of the rows of the table whose first column has this title. */
function rowsUnder(page: string, title: string): string[][] {
  const lines = page.split('\n')
  const begin = lines.findIndex((line) => line.startsWith(`| ${title} `)) + 2
  const end = lines.findIndex((line, index) => index >= begin && !line.startsWith('|'))
  return lines.slice(begin, end).map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )
}
