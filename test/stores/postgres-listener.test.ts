import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { turn } from '../../src/protocol/clock.js'
import { PostgresConnections } from '../../src/stores/postgres-connections.js'
import { PostgresListener } from '../../src/stores/postgres-listener.js'
import type { PostgresPoolClient, PostgresQuery } from '../../src/stores/postgres-pool.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

class Client extends EventEmitter implements PostgresPoolClient {
  readonly texts: string[] = []
  released: boolean | undefined
  isSilent = false

  async query({ text }: PostgresQuery) {
    this.texts.push(text)
    if (this.isSilent) await new Promise(() => {})
    return { rows: [], rowCount: 0, command: '' }
  }

  release(destroy = false): void {
    this.released = destroy
  }
}

function setUp() {
  const clock = virtualClock()
  const clients: Client[] = []
  const heard: string[] = []
  let tries = 0
  const world = { isAway: false }
  const connect = async () => {
    tries++
    if (world.isAway) throw new Error('connect ECONNREFUSED')
    const client = new Client()
    clients.push(client)
    return client
  }
  const pool = { query: () => Promise.reject(new Error('never asked')), connect }
  const listener = new PostgresListener(new PostgresConnections(pool, () => clock, 10_000), 'hints', {
    clock: () => clock,
    notified: (payload) => heard.push(payload),
    resumed: () => heard.push('resumed'),
  })
  return { clock, clients, heard, world, listener, tries: () => tries }
}

test('all who watch at once share one connection', async () => {
  const { clients, listener, heard } = setUp()
  await Promise.all([listener.listen(), listener.listen()])
  await listener.listen()
  expect(clients.map(({ texts }) => texts)).toEqual([['LISTEN "hints"']])
  clients[0]?.emit('notification', { channel: 'hints', payload: 'x' })
  clients[0]?.emit('notification', { channel: 'other', payload: 'y' })
  expect(heard).toEqual(['x'])
})

test('when nobody watches any more the connection goes back to the pool, and nothing is left of us on it', async () => {
  const { clock, clients, listener } = setUp()
  await listener.listen()
  listener.rest()
  await turn()
  const [client] = clients
  expect([client?.texts, client?.released]).toEqual([['LISTEN "hints"', 'UNLISTEN "hints"'], false])
  expect(client?.eventNames()).toEqual([])
  expect(clock.pending).toBe(0)
})

test('a watch ends before the connection is there: it is given back when it comes', async () => {
  const { clients, listener } = setUp()
  const listening = listener.listen()
  listener.rest()
  await listening
  await turn()
  expect(clients.map(({ released }) => released)).toEqual([false])
})

test('a connection that is lost is destroyed, and another one listens soon: what was missed is looked for', async () => {
  const { clock, clients, heard, listener } = setUp()
  await listener.listen()
  clients[0]?.emit('error', new Error('terminated'))
  clients[0]?.emit('end')
  expect(clients[0]?.released).toBe(true)
  await clock.advance(100)
  expect([clients.length, heard]).toEqual([2, ['resumed']])
})

test('a connection whose other end died without a word is noticed, and replaced', async () => {
  const { clock, clients, heard, listener } = setUp()
  await listener.listen()
  await clock.advance(120_000)
  expect([clients.length, heard]).toEqual([1, []])
  const [client] = clients
  if (client) client.isSilent = true
  await clock.advance(60_100)
  expect([client?.released, clients.length, heard]).toEqual([true, 2, ['resumed']])
})

test('while the database is away a watch is rejected at once, and tries grow rare', async () => {
  const { clock, clients, heard, world, listener, tries } = setUp()
  await listener.listen()
  world.isAway = true
  clients[0]?.emit('end')
  await expect(listener.listen()).rejects.toThrow('ECONNREFUSED')
  const before = tries()
  await clock.advance(600_000)
  // Every 2.5 to 5 s in the end.
  expect(tries() - before).toBeGreaterThanOrEqual(110)
  expect(tries() - before).toBeLessThanOrEqual(260)
  world.isAway = false
  await clock.advance(5_000)
  expect([clients.length, heard]).toEqual([2, ['resumed']])
  listener.rest()
  await turn()
  expect(clock.pending).toBe(0)
})

test('the first watch that fails leaves nothing behind', async () => {
  const { clock, world, listener } = setUp()
  world.isAway = true
  await expect(listener.listen()).rejects.toThrow('ECONNREFUSED')
  listener.rest()
  expect(clock.pending).toBe(0)
})
