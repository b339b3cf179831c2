import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as kinds from './kinds.js'
import { blockNames, blockOf, isWriting, partOf, writePart } from './page.js'
import { paddings, setUps } from './set-ups.js'

test('the blocks of docs/proxies.md are the files that the tests start the proxies with', async () => {
  const names = await blockNames()
  expect(names).toEqual(expect.arrayContaining(Object.values(kinds).map(({ folder }) => `block ${folder}/recommended`)))
  for (const name of names) {
    const block = await blockOf(name)
    if (isWriting) await writePart(name, block)
    expect(await partOf(name), name).toBe(block)
  }
})

test('every configuration is used by a test, and every one that a test uses is there', () => {
  const used = new Set([...setUps, ...paddings].flatMap((given) => ('site' in given ? [pathOf(given)] : [])))
  // In front of several processes; and what surrounds the others.
  for (const file of ['round-robin.conf', 'three.conf']) used.add(join('nginx', file))
  for (const { folder, extension, framed } of Object.values(kinds))
    if (framed) used.add(join(folder, `frame${extension}`))
  const conf = join(import.meta.dirname, 'conf')
  const there = readdirSync(conf, { recursive: true, encoding: 'utf8' }).filter((path) => path.includes('.'))
  expect([...used].filter((path) => !existsSync(join(conf, path)))).toEqual([])
  expect(there.sort()).toEqual([...used].sort())
})

function pathOf({ kind, site }: { kind: { folder: string; extension: string }; site: string }): string {
  return join(kind.folder, site + kind.extension)
}
