import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { turn } from '../../src/protocol/clock.js'
import { PostgresAnnouncer, unpacked } from '../../src/stores/postgres-announcer.js'
import { PostgresConnections } from '../../src/stores/postgres-connections.js'
import type { PostgresQuery } from '../../src/stores/postgres-pool.js'
import { shortHash } from '../../src/stores/postgres-text.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

function setUp() {
  const clock = virtualClock()
  const sent: string[][] = []
  const answers: (() => void)[] = []
  const query = async ({ values = [] }: PostgresQuery) => {
    sent.push(values[1] as string[])
    await new Promise<void>((resolve) => answers.push(resolve))
    return { rows: [], rowCount: 0, command: '' }
  }
  const client = Object.assign(new EventEmitter(), { query, release: () => {} })
  const connections = new PostgresConnections({ query, connect: async () => client }, () => clock, 10_000)
  const announcer = new PostgresAnnouncer(connections, 'hints', () => clock)
  const answer = async () => {
    await turn()
    answers.shift()?.()
    await turn()
  }
  return { clock, sent, answer, announcer }
}

const at = (head: number) => ({ epoch: 'e', head, tag: head + 100 })

test('the first hint goes at once; what comes while it is under way and within 5 ms goes together, the newest of each stream', async () => {
  const { clock, sent, answer, announcer } = setUp()
  for (let head = 1; head <= 100; head++) for (const stream of ['a', 'b']) announcer.announce(stream, at(head))
  await turn()
  expect(sent).toEqual([[`${shortHash('a')}.e.1.101`]])
  await answer()
  announcer.announce('c')
  expect(sent).toHaveLength(1)
  await clock.advance(5)
  expect(sent[1]).toEqual([`${shortHash('b')}.e.100.200 ${shortHash('a')}.e.100.200 ${shortHash('c')}`])
  await answer()
  await clock.advance(1_000)
  expect([sent.length, clock.pending]).toEqual([2, 0])
})

test('payloads are shorter than PostgreSQL allows, whatever the streams are called, and are read as they were meant', async () => {
  const { clock, sent, answer, announcer } = setUp()
  announcer.announce('first')
  const names = Array.from({ length: 2_000 }, (_, n) => `${'漢'.repeat(1_000)} ${n}`)
  for (const [index, name] of names.entries())
    announcer.announce(name, { epoch: 'k3f9k3f9k3f9', head: 2 ** 53 - 1, tag: index })
  await answer()
  await clock.advance(5)
  const payloads = sent[1] ?? []
  for (const payload of payloads) expect(payload.length).toBeLessThan(8_000)
  const read = payloads.flatMap((payload) => [...unpacked(payload)])
  expect(read).toEqual(names.map((name, tag) => [shortHash(name), { epoch: 'k3f9k3f9k3f9', head: 2 ** 53 - 1, tag }]))
})

test('nothing is sent any more once it is closed', async () => {
  const { clock, sent, answer, announcer } = setUp()
  announcer.announce('a', at(1))
  announcer.announce('a', at(2))
  announcer.close()
  await answer()
  await clock.advance(1_000)
  expect([sent.length, clock.pending]).toEqual([1, 0])
})
