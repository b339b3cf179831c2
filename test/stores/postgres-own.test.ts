import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AppendEvent } from '../../src/protocol/store.js'
import { createHub, type Hub, type HubOptions, type Subscription } from '../../src/server/index.js'
import { postgresSchema, postgresStore } from '../../src/stores/postgres.js'
import { PostgresWorld, postgresAnswers, postgresUrl, tap } from './postgres-world.js'

const hasPostgres = await postgresAnswers()
const patient = { timeout: 10_000, interval: 5 }
/** So long that nothing comes by the poll. */
const NO_POLL = { pollMs: 1_000_000 }

function event(data: string, key?: string): AppendEvent {
  return { event: undefined, data, key }
}

async function take(reader: Subscription, count: number): Promise<string[]> {
  const texts: string[] = []
  while (texts.length < count) {
    const { value } = await reader.next()
    texts.push(value?.type === 'event' ? value.data : `gap ${value?.reason}`)
  }
  return texts
}

describe.skipIf(!hasPostgres)(`PostgreSQL${hasPostgres ? '' : ` (none at ${postgresUrl})`}`, () => {
  let world: PostgresWorld
  const hubs: Hub[] = []
  beforeAll(async () => {
    world = await PostgresWorld.begin()
  })
  beforeEach(() => world.empty())
  afterEach(async () => {
    await Promise.all(hubs.splice(0).map((hub) => hub.close()))
    await world.closeAll()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  function openHub(options: Parameters<PostgresWorld['open']>[0] = {}, hubOptions: Partial<HubOptions> = {}) {
    const opened = world.open(options)
    const hub = createHub({ store: opened.store, ...hubOptions })
    hubs.push(hub)
    return { ...opened, hub }
  }

  async function count(sql: string, values: unknown[] = []): Promise<number> {
    const { rows } = await world.admin.query(sql, values)
    return Number(rows[0].count)
  }

  const listening = () =>
    count('SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE $2', [
      world.application,
      'LISTEN%',
    ])

  /** How many of the stores' statements wait for a lock. */
  const blocked = () =>
    count("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", [
      world.application,
    ])

  describe('migrate', () => {
    test('is idempotent, and several processes may do it at once', async () => {
      const schema = `${world.schema}_two`
      const stores = Array.from({ length: 8 }, () => world.open({ schema }).store)
      try {
        await Promise.all(stores.map((store) => store.migrate()))
        await stores[0]?.append('s', [event('kept')])
        await stores[1]?.migrate()
        await world.admin.query(postgresSchema({ schema }))
        expect((await stores[2]?.read('s', 0, { limit: 1 }))?.events[0]?.data).toBe('kept')
      } finally {
        await world.admin.query(`DROP SCHEMA ${schema} CASCADE`)
      }
    })

    test('a store whose tables are missing says what to do', async () => {
      const { store, hub } = openHub({ schema: `${world.schema}_none` })
      const missing = { code: 'STORE_UNAVAILABLE', message: expect.stringContaining('`migrate()`') }
      await expect(store.append('s', [event('x')])).rejects.toMatchObject(missing)
      await expect(hub.subscribe('s')).rejects.toMatchObject(missing)
      await expect((async () => store.receipts.claim('', 'k', 'f', 1_000))()).rejects.toMatchObject(missing)
    })

    test('stores with another prefix share nothing', async () => {
      const one = world.open().store
      const two = world.open({ prefix: 'other_' }).store
      await two.migrate()
      await one.append('s', [event('one')])
      expect(await two.read('s', 0, { limit: 1 })).toBeNull()
    })
  })

  describe('publish in a transaction', () => {
    test('what is rolled back no reader ever sees, and what follows is dense', async () => {
      const { hub } = openHub()
      const reader = await hub.subscribe('s')
      const first = await world.begin()
      const { cursor } = await hub.publish('s', { data: 'rolled back' }, { transaction: first.client })
      await first.rollback()
      const after = await hub.publish('s', { data: 'after' })
      expect(after.cursor.split('.')[1]).toBe(cursor.split('.')[1])
      expect(await take(reader, 1)).toEqual(['after'])
      expect((await hub.read('s')).items).toHaveLength(1)
    })

    test('what is committed is delivered at the commit, here and elsewhere, together with what else is in it', async () => {
      const here = openHub(NO_POLL)
      const there = openHub(NO_POLL)
      await world.admin.query(`CREATE TABLE ${world.schema}.orders (id int)`)
      const readers = [await here.hub.subscribe('s'), await there.hub.subscribe('s')]
      const { client, commit } = await world.begin()
      await client.query(`INSERT INTO ${world.schema}.orders VALUES (1)`)
      const published = await here.hub.publish('s', [{ data: 'a' }, { data: 'b', key: 'k' }], { transaction: client })
      expect(await here.hub.read('s')).toMatchObject({ items: [] })
      await commit()
      for (const reader of readers) expect(await take(reader, 2)).toEqual(['a', 'b'])
      expect(await count(`SELECT count(*) FROM ${world.schema}.orders`)).toBe(1)
      expect(await there.hub.publish('s', { data: 'again', key: 'k' })).toEqual({
        cursor: published[1]?.cursor,
        duplicate: true,
      })
    })

    test('others who publish wait until it ends; other streams do not', async () => {
      const { hub } = openHub()
      const { client, commit } = await world.begin()
      await hub.publish('s', { data: 'first' }, { transaction: client })
      const waiting = Promise.all([hub.publish('s', { data: 'second' }), hub.publish('s', { data: 'third' })])
      await hub.publish('another', { data: 'x' })
      await expect.poll(blocked, patient).toBe(1)
      await commit()
      await waiting
      const { items } = await hub.read('s')
      expect(items.map((item) => item.type === 'event' && item.data)).toEqual(['first', 'second', 'third'])
    })

    test('a sealed stream rejects, and the transaction can go on', async () => {
      const { hub } = openHub()
      await hub.seal('s')
      const { client, commit } = await world.begin()
      await expect(hub.publish('s', { data: 'x' }, { transaction: client })).rejects.toMatchObject({ code: 'SEALED' })
      await hub.publish('another', { data: 'x' }, { transaction: client })
      await commit()
      expect((await hub.read('another')).head).toBeDefined()
      expect((await hub.read('another')).items).toHaveLength(1)
    })
  })

  describe('batches', () => {
    /** A store, and the statements that its pool was given. */
    function counted(options: Parameters<PostgresWorld['open']>[0] = {}) {
      const pool = new Pool({ connectionString: postgresUrl, max: 4 }).on('error', () => {})
      const texts: string[] = []
      tap(pool, (text) => {
        texts.push(text)
        return undefined
      })
      const store = postgresStore({ schema: world.schema, ...options, pool })
      const of = (what: string) => texts.filter((text) => text.includes(what)).length
      return { store, of, [Symbol.asyncDispose]: () => pool.end() }
    }

    test('what arrives while a statement is under way goes as one', async () => {
      await using it = counted()
      const places = await Promise.all(Array.from({ length: 500 }, (_, n) => it.store.append('s', [event(String(n))])))
      expect(places.flat().map(({ offset }) => offset)).toEqual(Array.from({ length: 500 }, (_, n) => n + 1))
      expect(it.of('steady_append')).toBeLessThanOrEqual(3)
      const page = await it.store.read('s', 0, { limit: 1_000 })
      expect(page?.events.map(({ data }) => data)).toEqual(Array.from({ length: 500 }, (_, n) => String(n)))
    })

    test('a key that comes twice at once is one event', async () => {
      await using it = counted()
      const places = await Promise.all(['a', 'b', 'a', 'c', 'a'].map((key) => it.store.append('s', [event(key, key)])))
      expect(places.flat().map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
        [1, false],
        [2, false],
        [1, true],
        [3, false],
        [1, true],
      ])
    })

    test('an input that the database refuses fails alone', async () => {
      await using it = counted()
      await world.admin.query(`ALTER TABLE ${world.schema}.steady_events ADD CONSTRAINT good CHECK (data <> 'bad')`)
      try {
        const all = ['1', 'bad', '2', '3'].map((data) => it.store.append('s', [event(data)]))
        const settled = await Promise.allSettled(all)
        expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
        const page = await it.store.read('s', 0, { limit: 10 })
        expect(page?.events.map(({ offset, data }) => [offset, data])).toEqual([
          [1, '1'],
          [2, '2'],
          [3, '3'],
        ])
      } finally {
        await world.admin.query(`ALTER TABLE ${world.schema}.steady_events DROP CONSTRAINT good`)
      }
    })

    test('a publish that is aborted while it waits is not written', async () => {
      await using it = counted()
      const { client, rollback } = await world.begin()
      await it.store.append('s', [event('x')], { transaction: client })
      const first = it.store.append('s', [event('first')])
      await expect
        .poll(async () => count('SELECT count(*) FROM pg_locks WHERE NOT granted'), patient)
        .toBeGreaterThan(0)
      const abort = new AbortController()
      const second = (async () => it.store.append('s', [event('second')], { signal: abort.signal }))()
      const rejected = expect(second).rejects.toThrow(/abort/)
      abort.abort()
      await rejected
      await rollback()
      await first
      expect((await it.store.read('s', 0, { limit: 10 }))?.events.map(({ data }) => data)).toEqual(['first'])
    })

    test('a seal comes after what was published before it', async () => {
      await using it = counted()
      const appended = it.store.append('s', [event('last')])
      const [view] = await Promise.all([it.store.seal('s'), appended])
      expect(view).toMatchObject({ head: 1, sealed: true })
    })

    test('a database that does not answer fills no memory: publish rejects, and beyond the bound at once', async () => {
      const never = new Promise<never>(() => {})
      const store = postgresStore({ pool: { query: () => never, connect: () => never }, maxPendingBytes: 10_000 })
      const hub = createHub({ store, publishTimeoutMs: 20, joinTimeoutMs: 20 })
      hubs.push(hub)
      await expect(hub.publish('s', { data: 'under way' })).rejects.toMatchObject({ code: 'PUBLISH_TIMEOUT' })
      await expect(hub.publish('s', { data: 'x'.repeat(4_000) })).rejects.toMatchObject({ code: 'PUBLISH_TIMEOUT' })
      await expect(hub.publish('s', { data: 'x'.repeat(2_000) })).rejects.toMatchObject({ code: 'OVERLOADED' })
      await expect(hub.subscribe('s')).rejects.toMatchObject({ code: 'JOIN_TIMEOUT' })
    })
  })

  test('names and keys may be long, and of any characters', async () => {
    const { store } = world.open()
    const names = [
      '漢'.repeat(1_024),
      `${'漢'.repeat(1_023)}字`,
      'a\0b',
      'a\x100b',
      '\ud800',
      '\ud801',
      "'; --",
      'é',
      'e\u0301',
    ]
    for (const name of names) {
      await store.append(name, [event(name, name)])
      for (const key of names) expect((await store.append(name, [event('', key)]))[0]?.duplicate).toBe(key === name)
    }
    for (const name of names) {
      const page = await store.read(name, 0, { limit: 1 })
      expect(page).toMatchObject({ head: names.length, events: [{ data: name }] })
    }
  })

  test('where repeatable read is the default, writers at once still leave no hole and do not fail', async () => {
    const options = '-c default_transaction_isolation=repeatable\\ read'
    const pools = Array.from({ length: 4 }, () =>
      new Pool({ connectionString: postgresUrl, max: 2, options }).on('error', () => {}),
    )
    try {
      const stores = pools.map((pool) => postgresStore({ pool, schema: world.schema }))
      const write = async (store: (typeof stores)[number], writer: number) => {
        for (let n = 0; n < 25; n++) await store.append('s', [event(`${writer}.${n}`, n === 0 ? 'same' : undefined)])
      }
      await Promise.all(stores.map(write))
      expect((await stores[0]?.read('s', 0, { limit: 1_000 }))?.events.map(({ offset }) => offset)).toEqual(
        Array.from({ length: 97 }, (_, n) => n + 1),
      )
    } finally {
      await Promise.all(pools.map((pool) => pool.end()))
    }
  })

  describe('hints', () => {
    test('one connection listens for all streams, held only while somebody watches', async () => {
      const { store, pool } = world.open(NO_POLL)
      const unwatch = await Promise.all(['a', 'b', 'c'].map((stream) => store.watch(stream, () => {})))
      expect(await listening()).toBe(1)
      for (const each of unwatch) each()
      await expect.poll(listening, patient).toBe(0)
      await expect.poll(() => pool.totalCount - pool.idleCount, patient).toBe(0)
      let hints = 0
      const again = await store.watch('a', () => hints++)
      await world.open().store.append('a', [event('x')])
      await expect.poll(() => hints, patient).toBeGreaterThan(0)
      again()
    })

    test('a connection that is cut listens again by itself, and everything is looked at then', async () => {
      const { store } = world.open(NO_POLL)
      const other = world.open().store
      const heard: unknown[] = []
      await store.watch('s', (to) => heard.push(to))
      expect(await world.cut('LISTEN%')).toBe(1)
      await expect.poll(() => heard, patient).toEqual([undefined])
      await other.append('s', [event('x')])
      await expect.poll(() => heard.at(-1), patient).toMatchObject({ head: 1 })
    })

    test('a reader goes on without a gap when the connection that listens is cut while others publish', async () => {
      const { hub } = openHub(NO_POLL)
      const other = openHub().hub
      const reader = await hub.subscribe('s')
      await other.publish('s', { data: '1' })
      expect(await take(reader, 1)).toEqual(['1'])
      await world.cut('LISTEN%')
      await other.publish('s', [{ data: '2' }, { data: '3' }])
      expect(await take(reader, 2)).toEqual(['2', '3'])
    })

    test('without hints the poll finds what moved, and nobody listens', async () => {
      const { hub } = openHub({ hints: false, pollMs: 10 })
      const other = openHub({ hints: false }).hub
      const reader = await hub.subscribe('s')
      expect(await listening()).toBe(0)
      await other.publish('s', { data: 'found' })
      expect(await take(reader, 1)).toEqual(['found'])
      const { client, commit } = await world.begin()
      await other.publish('s', { data: 'in a transaction' }, { transaction: client })
      await commit()
      expect(await take(reader, 1)).toEqual(['in a transaction'])
    })

    test('a pool of its own may listen', async () => {
      const listen = new Pool({ connectionString: postgresUrl, application_name: `${world.application}_listen` }).on(
        'error',
        () => {},
      )
      const { hub } = openHub({ ...NO_POLL, listen })
      const reader = await hub.subscribe('s')
      expect([await listening(), listen.totalCount]).toEqual([0, 1])
      await openHub().hub.publish('s', { data: 'heard' })
      expect(await take(reader, 1)).toEqual(['heard'])
      await hub.close()
      await listen.end()
    })

    test('what other tools write is found by the poll', async () => {
      const { hub } = openHub({ pollMs: 10 })
      await hub.publish('s', [{ data: '1' }, { data: '2' }])
      const reader = await hub.subscribe('s')
      await world.admin.query(
        `SELECT ${world.schema}.steady_append('s', 'unused', '{7}', '{NULL}', '{3}', NULL, 1000, NULL, NULL, NULL)`,
      )
      expect(await take(reader, 1)).toEqual(['3'])
    })

    test('a stream that came back with an older history is found by the poll, though it stood there at the last one', async () => {
      const { hub, store } = openHub({ pollMs: 500 })
      const other = openHub().store
      for (const writer of [store, other]) {
        const stream = writer === store ? 'here' : 'there'
        await store.append(stream, [event('1')])
        const reader = await hub.subscribe(stream)
        const restore = await world.snapshot()
        await writer.append(stream, [event('2')])
        expect(await take(reader, 1)).toEqual(['2'])
        await restore()
        expect(await take(reader, 1)).toEqual(['gap ahead'])
      }
    })
  })

  describe('retention', () => {
    const streams = () => count(`SELECT count(*) FROM ${world.schema}.steady_streams`)
    const events = () => count(`SELECT count(*) FROM ${world.schema}.steady_events`)

    test('maxEvents is kept by the appends, in chunks, also after a batch that is larger', async () => {
      const { store } = world.open({ maxEvents: 100 })
      await store.append(
        's',
        Array.from({ length: 350 }, (_, n) => event(String(n + 1))),
      )
      expect((await store.read('s', 0, { limit: 1 }))?.events[0]?.data).toBe('251')
      for (let n = 0; n < 30; n++) await store.append('s', [event('x')])
      const { first, head } = await store.open('s')
      expect(head - first + 1).toBeGreaterThanOrEqual(100)
      expect(await events()).toBe(head - first + 1)
      expect(await events()).toBeLessThanOrEqual(113)
    })

    test('a lowered maxEvents is reached little by little', async () => {
      await world.open().store.append(
        's',
        Array.from({ length: 2_000 }, () => event('x')),
      )
      const { store } = world.open({ maxEvents: 10 })
      const lengths: number[] = []
      for (let n = 0; n < 6; n++) {
        await store.append('s', [event('x')])
        lengths.push(await events())
      }
      expect(lengths).toEqual([1_489, 978, 467, 10, 11, 10])
    })

    test('many old events go in chunks', async () => {
      const { store } = world.open()
      await store.append(
        's',
        Array.from({ length: 3_500 }, () => event('x')),
      )
      await store.append('s', [event('the last, and as old')])
      await world.age(600_001)
      expect(await events()).toBe(0)
      expect(await store.open('s')).toMatchObject({ first: 3_502, head: 3_501 })
    })

    test('the record of a sealed stream goes when its time is up, with its events', async () => {
      const { hub } = openHub()
      await hub.publish('s', { data: 'x' })
      await hub.seal('s')
      await world.age(1_000)
      expect([await streams(), await events()]).toEqual([1, 1])
      await world.admin.query(`UPDATE ${world.schema}.steady_streams SET sealed_until = now()`)
      await expect.poll(streams, patient).toBe(0)
      expect(await events()).toBe(0)
    })

    test('a stream without events and readers is forgotten when idleTtlMs is over; one with a reader is not', async () => {
      const { hub, store } = openHub({ idleTtlMs: 800 })
      await hub.subscribe('read')
      await store.append('full', [event('x')])
      await store.open('unread')
      expect(await streams()).toBe(3)
      await expect.poll(streams, patient).toBe(2)
      expect(await store.read('unread', 0, { limit: 0 })).toBeNull()
      expect(await store.read('read', 0, { limit: 0 })).toMatchObject({ head: 0 })
    })
  })

  test('an effect whose failure was swallowed does not pass for committed', async () => {
    const { receipts } = world.open().store
    const claim = await receipts.claim('', 'k', 'f', 60_000)
    if (claim.state !== 'claimed' || !receipts.commit) throw new Error(`got ${claim.state}`)
    const committing = receipts.commit(claim.lease, '1', async (client) => {
      await client.query({ text: 'SELECT 1/0' }).catch(() => {})
    })
    await expect(committing).rejects.toThrow(/was rolled back/)
    expect((await receipts.claim('', 'k', 'f', 60_000)).state).toBe('busy')
  })
})
