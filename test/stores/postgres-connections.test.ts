import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { turn } from '../../src/protocol/clock.js'
import { PostgresConnections } from '../../src/stores/postgres-connections.js'
import { NoAnswer } from '../../src/stores/postgres-deadlines.js'
import { type PostgresPoolClient, type PostgresQuery, sqlState } from '../../src/stores/postgres-pool.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

class Client extends EventEmitter implements PostgresPoolClient {
  readonly id: number
  readonly texts: string[] = []
  isSilent = false
  failure: unknown
  destroyed: boolean | undefined
  readonly #back: (client: Client) => void

  constructor(id: number, back: (client: Client) => void) {
    super()
    this.id = id
    this.#back = back
  }

  async query({ text }: PostgresQuery) {
    this.texts.push(text)
    if (this.isSilent) await new Promise(() => {})
    if (this.failure) throw this.failure
    return { rows: [{ id: this.id }], rowCount: 1, command: text }
  }

  release(destroy = false): void {
    this.destroyed = destroy
    if (!destroy) this.#back(this)
  }
}

/** A pool that lends the client that came back last, as `pg` does. */
function setUp() {
  const clock = virtualClock()
  const clients: Client[] = []
  const idle: Client[] = []
  const waits: (() => void)[] = []
  const world = { isFull: false }
  const connect = async () => {
    if (world.isFull) await new Promise<void>((resolve) => waits.push(resolve))
    const client = idle.pop() ?? new Client(clients.length, (back) => idle.push(back))
    if (!clients.includes(client)) clients.push(client)
    return client
  }
  const query = () => Promise.reject(new Error('never asked'))
  const connections = new PostgresConnections({ query, connect }, () => clock, 10_000)
  /** Which client answers. */
  const ask = async () => ((await connections.query({ text: 'SELECT' })).rows[0] as { id: number }).id
  const grow = async (count: number) => {
    await Promise.all(Array.from({ length: count }, ask))
    expect(clients).toHaveLength(count)
  }
  return { clock, clients, idle, waits, world, connections, ask, grow }
}

test('a connection that does not answer in time is destroyed, and the next statement has another', async () => {
  const { clock, clients, connections, ask } = setUp()
  expect(await ask()).toBe(0)
  const [first] = clients
  if (first) first.isSilent = true
  const asked = expect(connections.query({ text: 'SELECT' })).rejects.toThrow(NoAnswer)
  await clock.advance(10_000)
  await asked
  expect([first?.destroyed, await ask()]).toEqual([true, 1])
  expect(first?.listenerCount('error')).toBe(0)
  expect(clock.pending).toBe(0)
})

test('those that have not answered since are not trusted any more; those that have, are', async () => {
  const { clock, clients, idle, connections, ask, grow } = setUp()
  await grow(4)
  await clock.advance(1)
  const [silent] = idle.splice(3, 1)
  if (!silent) throw new Error('no client')
  silent.isSilent = true
  idle.push(silent)
  const late = expect(connections.query({ text: 'SELECT' })).rejects.toThrow(NoAnswer)
  await clock.advance(5_000)
  const good = await ask()
  await clock.advance(5_000)
  await late
  expect(await ask()).toBe(good)
  const asked = await Promise.all([ask(), ask(), ask()])
  expect(asked).toContain(good)
  expect(clients.map(({ id, destroyed }) => id === good || destroyed)).toEqual([true, true, true, true, false, false])
})

test('a connection that comes too late is given back', async () => {
  const { clock, clients, waits, world, connections, ask } = setUp()
  world.isFull = true
  const asked = expect(connections.query({ text: 'SELECT' })).rejects.toThrow(/no connection/)
  await clock.advance(10_000)
  await asked
  world.isFull = false
  for (const resolve of waits) resolve()
  await turn()
  expect([clients[0]?.destroyed, clients[0]?.texts]).toEqual([false, []])
  expect(await ask()).toBe(0)
})

test('each statement has a time of its own', async () => {
  const { clock, clients, connections } = setUp()
  const lent = await connections.lend()
  clients[0] = Object.assign(lent, { isSilent: true }) as Client
  const heard: string[] = []
  for (const ms of [3_000, 1_000, 2_000]) connections.ask(lent, { text: '' }, ms).catch(() => heard.push(`${ms}`))
  for (const expected of [['1000'], ['1000', '2000'], ['1000', '2000', '3000']]) {
    await clock.advance(1_000)
    expect(heard).toEqual(expected)
  }
  expect(clock.pending).toBe(0)
})

test('a process that slept looks at the answers first', async () => {
  const { clock, connections } = setUp()
  const lent = await connections.lend()
  let answer: (() => void) | undefined
  Object.assign(lent, {
    query: () =>
      new Promise<unknown>((resolve) => {
        answer = () => resolve({ rows: [], rowCount: 0, command: 'late' })
      }),
  })
  const asked = connections.ask(lent, { text: '' })
  clock.jump(60_000)
  await clock.advance(0)
  answer?.()
  expect((await asked).command).toBe('late')
  expect(clock.pending).toBe(0)
})

test('a statement that is refused keeps its connection, and a connection that broke does not stay', async () => {
  const { clients, ask } = setUp()
  await ask()
  const [client] = clients
  const failWith = async (code: string | undefined) => {
    if (client) client.failure = Object.assign(new Error('refused'), { code })
    await expect(ask()).rejects.toThrow('refused')
    return client?.destroyed
  }
  expect(await failWith('40001')).toBe(false)
  expect(await failWith('55P03')).toBe(false)
  expect(await failWith('EPIPE')).toBe(true)
  expect(sqlState({ code: 'EPIPE' })).toBeUndefined()
})

test('a transaction on a connection that fell silent is not waited for twice', async () => {
  const { clock, clients, connections } = setUp()
  const running = expect(
    connections.transaction('BEGIN', async (_, run) => {
      if (clients[0]) clients[0].isSilent = true
      await run({ text: 'UPDATE' })
    }),
  ).rejects.toThrow(NoAnswer)
  await clock.advance(10_000)
  await running
  expect([clients[0]?.texts, clients[0]?.destroyed]).toEqual([['BEGIN', 'UPDATE'], true])
  expect(clock.pending).toBe(0)
})
