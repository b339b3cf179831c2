import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const page = readFileSync('docs/architecture.md', 'utf8')
const stores = readFileSync('docs/stores.md', 'utf8')
const reference = readFileSync('docs/reference.md', 'utf8')

test('docs/architecture.md names every file that asks a clock for a timer', () => {
  const named = [...page.matchAll(/^\| `((?:server|stores|client|adapters)\/[\w-]+\.ts)` /gm)].map(([, path]) => path)
  const owners = ['server', 'stores', 'client', 'adapters'].flatMap((folder) =>
    readdirSync(`src/${folder}`)
      .map((name) => `${folder}/${name}`)
      .filter((path) => /\.setTimeout\(/.test(readFileSync(`src/${path}`, 'utf8'))),
  )
  expect(named.toSorted()).toEqual(owners.toSorted())
})

test('every file that docs/architecture.md names is there', () => {
  const paths = [...page.matchAll(/\b((?:src|test|server|stores|client|adapters|protocol)\/[\w/-]+\.ts)\b/g)].map(
    ([, path = '']) => path,
  )
  expect(paths.length).toBeGreaterThan(40)
  expect(paths.filter((path) => !existsSync(path) && !existsSync(`src/${path}`))).toEqual([])
})

test('docs/operations.md and docs/guarantees.md say the same of memory', () => {
  const [operations, guarantees] = ['operations', 'guarantees'].map(
    (name) => /```text\n( *Σ stores[\s\S]*?)```/.exec(readFileSync(`docs/${name}.md`, 'utf8'))?.[1],
  )
  expect(operations).toBeDefined()
  expect(operations).toBe(guarantees)
})

test('the bounds of retention in docs/stores.md are those of the reference', () => {
  const short = (option: string, value: string | undefined) => {
    if (value === undefined) return option === 'maxBytes' ? 'no bound' : ''
    const n = Number(value.replaceAll('_', ''))
    if (option === 'maxEvents') return n.toLocaleString('en-US')
    if (option === 'maxBytes') return `${n / 1024 / 1024} MiB`
    return n % 86_400_000 === 0 && n > 86_400_000 ? `${n / 86_400_000} d` : `${n / 3_600_000} h`
  }
  const options = ['maxEvents', 'maxBytes', 'maxAgeMs', 'idleTtlMs']
  const [, table = ''] = /\n(\| store +\| `maxEvents`[\s\S]*?)\n\n/.exec(stores) ?? []
  const rows = table.split('\n').slice(2)
  expect(rows).toHaveLength(4)
  for (const row of rows) {
    const [, store = '', ...said] = row.split('|').map((cell) => cell.trim())
    const [, section = ''] = reference.split(`### \`${store === 'PostgreSQL' ? 'postgres' : store.toLowerCase()}Store(`)
    const values = options.map((option) =>
      short(option, new RegExp(`^\\| \`${option}\` +\\| \`([\\d_]+)\``, 'm').exec(section.split('###')[0] ?? '')?.[1]),
    )
    expect([store, ...said.slice(0, options.length)]).toEqual([store, ...values])
  }
})

test('compose.yaml starts Redis and PostgreSQL where the tests and the examples look for them', () => {
  const compose = readFileSync('compose.yaml', 'utf8')
  const addresses = [
    'test/testing/sources.ts',
    'test/stores/postgres-world.ts',
    'examples/redis.ts',
    'examples/postgres.ts',
  ]
  for (const path of addresses) {
    const [, address = '', port] =
      /STEADY_\w+_URL \?\? '(\w+:[^']*?:(\d+)[^']*)'/.exec(readFileSync(path, 'utf8')) ?? []
    expect([path, compose.includes(`=${address}\n`), compose.includes(`"127.0.0.1:${port}:${port}"`)]).toEqual([
      path,
      true,
      true,
    ])
  }
})
