import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

// The tables of docs/reference.md name every option there is, with the default that the code has.
// [the heading begins with, the interfaces of its options, where the defaults are taken]
const SECTIONS: readonly [heading: string, interfaces: readonly [path: string, name: string][], defaults: string][] = [
  ['createHub(', [['server/hub.ts', 'HubOptions']], 'server/hub-options.ts'],
  ['sse(hub', [['server/serve.ts', 'StreamOptions']], 'server/serve.ts'],
  [
    'sse(function',
    [
      ['server/direct.ts', 'DirectOptions'],
      ['server/direct.ts', 'IterableOptions'],
    ],
    'server/direct.ts',
  ],
  ['receive(', [['server/receive.ts', 'ReceiveOptions']], 'server/receive.ts'],
  ['writeSSE(', [['server/write.ts', 'WriteOptions']], 'server/write.ts'],
  ['memoryStore(', [['stores/memory.ts', 'MemoryStoreOptions']], 'stores/memory.ts'],
  ['memoryReceipts(', [['protocol/receipt-book.ts', 'MemoryReceiptsOptions']], 'protocol/receipt-book.ts'],
  [
    'sqliteStore(',
    [
      ['stores/sqlite.ts', 'SqliteStoreOptions'],
      ['stores/sqlite-schema.ts', 'SqliteSchemaOptions'],
    ],
    'stores/sqlite.ts',
  ],
  ['redisStore(', [['stores/redis.ts', 'RedisStoreOptions']], 'stores/redis.ts'],
  [
    'postgresStore(',
    [
      ['stores/postgres.ts', 'PostgresStoreOptions'],
      ['stores/postgres-schema.ts', 'PostgresSchemaOptions'],
    ],
    'stores/postgres.ts',
  ],
  ['connect(', [['client/options.ts', 'ConnectOptions']], 'client/options.ts'],
  ['createOutbox(', [['client/outbox-options.ts', 'OutboxOptions']], 'client/outbox-options.ts'],
]

/** What stands for itself; the rest is told in words. */
const IS_VALUE = /^(\d+|'.*'|Infinity|true|false)$/

const page = readFileSync('docs/reference.md', 'utf8')
const rows = new Map(SECTIONS.map(([heading]) => [heading, rowsUnder(heading)]))
const defaults = new Map(SECTIONS.map(([heading, , path]) => [heading, defaultsIn(path)]))

test('every section of options on the page is looked at here', () => {
  const headings = [...page.matchAll(/^### `([^`]+)`/gm)].map(([, heading = '']) => heading)
  expect(headings.filter((heading) => !SECTIONS.some(([begin]) => heading.startsWith(begin)))).toEqual([])
})

describe.each(SECTIONS)('%s…)', (heading, interfaces) => {
  test('the table names every option, and no other', () => {
    const members = interfaces.flatMap(([path, name]) => membersOf(path, name))
    expect([...(rows.get(heading)?.keys() ?? [])].sort()).toEqual([...new Set(members)].sort())
  })

  test('its defaults are those of the code', () => {
    const inCode = defaults.get(heading)
    const differ = [...(rows.get(heading) ?? [])].flatMap(([option, said]) => {
      const value = inCode?.get(option)
      return !IS_VALUE.test(said) || value === undefined || said === value
        ? []
        : [`${option}: says ${said}, is ${value}`]
    })
    expect(differ).toEqual([])
  })
})

test('most numbers on the page are compared with one in the code', () => {
  const numbers = SECTIONS.flatMap(([heading]) =>
    [...(rows.get(heading) ?? [])].flatMap(([option, said]) => (/^\d+$/.test(said) ? [{ heading, option }] : [])),
  )
  expect(numbers.length).toBeGreaterThan(40)
  expect(numbers.filter(({ heading, option }) => !defaults.get(heading)?.has(option))).toEqual([])
})

test('the table of errors names every code, and no other', () => {
  const [, errors = ''] = page.split('\n## Errors')
  const said = [...errors.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code = '']) => code)
  const inCode = new Set(readFileSync('src/protocol/error.ts', 'utf8').match(/(?<=^ {2}\| ')[A-Z_]+/gm))
  expect(said.toSorted()).toEqual([...inCode].toSorted())
})

/** The options of the table under a heading, and what it says of their defaults. */
function rowsUnder(heading: string): Map<string, string> {
  const [, section = ''] = page.split(`\n### \`${heading}`)
  const [, table = ''] = /\n\| option[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)*)/.exec(section) ?? []
  return new Map(
    table
      .trim()
      .split('\n')
      .flatMap((row) => {
        const [, names = '', said = ''] = row.split('|')
        return [...names.matchAll(/`(\w+)`/g)].map(([, name = '']): [string, string] => [
          name,
          said
            .trim()
            .replace(/^`(.*)`$/, '$1')
            .replaceAll(/(?<=\d)_(?=\d)/g, ''),
        ])
      }),
  )
}

function membersOf(path: string, name: string): string[] {
  const found = parse(path).statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === name)
  if (!found || !ts.isInterfaceDeclaration(found)) throw new Error(`There is no interface ${name} in ${path}.`)
  return found.members.map((member) => member.name?.getText() ?? '')
}

/** What `bound`, `duration` and `oneOf` fall back to, by the name of the option; and the defaults of destructured ones. */
function defaultsIn(path: string): Map<string, string> {
  const found = new Map<string, string>()
  const ast = parse(path)
  const constants = new Map<string, ts.Expression>()
  const evaluated = (node: ts.Expression): number | string | undefined => {
    if (ts.isNumericLiteral(node)) return Number(node.text.replaceAll('_', ''))
    if (ts.isStringLiteral(node)) return `'${node.text}'`
    if (node.kind === ts.SyntaxKind.TrueKeyword) return 'true'
    if (node.kind === ts.SyntaxKind.FalseKeyword) return 'false'
    if (node.getText() === 'Number.POSITIVE_INFINITY') return 'Infinity'
    if (ts.isConditionalExpression(node)) return evaluated(node.whenTrue)
    const constant = ts.isIdentifier(node) ? constants.get(node.text) : undefined
    if (constant) return evaluated(constant)
    if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.AsteriskToken) return undefined
    return Number(evaluated(node.left)) * Number(evaluated(node.right))
  }
  const keep = (option: string, value: ts.Expression | undefined) => {
    const said = value && evaluated(value)
    if (said !== undefined) found.set(option, String(said))
  }
  const look = (node: ts.Node) => {
    if (ts.isVariableDeclaration(node) && node.initializer) constants.set(node.name.getText(), node.initializer)
    if (ts.isBindingElement(node)) keep(node.name.getText(), node.initializer)
    if (ts.isCallExpression(node)) {
      const [option, ...rest] = node.arguments
      const at = { lasting: 0, bound: 1, duration: 1, oneOf: 2 }[node.expression.getText()]
      if (option && ts.isStringLiteral(option) && at !== undefined) keep(option.text, rest[at])
    }
    node.forEachChild(look)
  }
  look(ast)
  return found
}

function parse(path: string): ts.SourceFile {
  return ts.createSourceFile(path, readFileSync(`src/${path}`, 'utf8'), ts.ScriptTarget.ESNext, true)
}
