import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Lease } from '../../src/protocol/receipts.js'
import type { AppendEvent } from '../../src/protocol/store.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { postgresStore } from '../../src/stores/postgres.js'
import { PostgresWorld, postgresAnswers, postgresUrl, tap } from './postgres-world.js'

const hasPostgres = await postgresAnswers()
const patient = { timeout: 10_000, interval: 5 }

function event(data: string, key?: string): AppendEvent {
  return { event: undefined, data, key }
}

/** A moment that the test chooses. */
function moment() {
  let come = () => {}
  const promise = new Promise<void>((resolve) => {
    come = resolve
  })
  return { promise, come }
}

describe.skipIf(!hasPostgres)(`PostgreSQL${hasPostgres ? '' : ` (none at ${postgresUrl})`}`, () => {
  let world: PostgresWorld
  const hubs: Hub[] = []
  /** What lets go of effects that a failed test has left waiting. */
  const toEnd: (() => void)[] = []
  beforeAll(async () => {
    world = await PostgresWorld.begin()
  })
  beforeEach(() => world.empty())
  afterEach(async () => {
    for (const end of toEnd.splice(0)) end()
    await Promise.all(hubs.splice(0).map((hub) => hub.close()))
    await world.closeAll()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  function openHub(options: Parameters<PostgresWorld['open']>[0] = {}) {
    const opened = world.open(options)
    const hub = createHub({ store: opened.store })
    hubs.push(hub)
    return { ...opened, hub }
  }

  async function count(sql: string, values: unknown[] = []): Promise<number> {
    const { rows } = await world.admin.query(sql, values)
    return Number(rows[0].count)
  }

  describe('receipts whose lease is over while it is committed', () => {
    async function committing() {
      const { receipts } = world.open().store
      const claim = await receipts.claim('', 'k', 'f', 1)
      if (claim.state !== 'claimed' || !receipts.commit) throw new Error(`got ${claim.state}`)
      const [begun, go] = [moment(), moment()]
      toEnd.push(go.come)
      const effect = async () => {
        begun.come()
        await go.promise
        throw new Error('the effect fails')
      }
      const committed = (async () => receipts.commit?.(claim.lease, '1', effect))()
      committed.catch(() => {})
      await begun.promise
      return { receipts, lease: claim.lease, go: go.come, committed }
    }

    test('are busy for whoever claims them, at once, and then free for one of many, for a whole lease', async () => {
      const { receipts, go, committed } = await committing()
      for (let n = 0; n < 8; n++)
        expect(await receipts.claim('', 'k', 'f', 1_000)).toMatchObject({ state: 'busy', leftMs: 0 })
      go()
      await expect(committed).rejects.toThrow('the effect fails')
      const claims = await Promise.all(Array.from({ length: 8 }, () => receipts.claim('', 'k', 'f', 60_000)))
      expect(claims.filter(({ state }) => state === 'claimed')).toHaveLength(1)
      const left = 'SELECT extract(epoch FROM until - since) = 60 AND until > clock_timestamp() AS whole'
      const { rows } = await world.admin.query(`${left} FROM ${world.schema}.steady_receipts`)
      expect(rows).toEqual([{ whole: true }])
    })

    test('are neither completed nor released by others, who do not wait', async () => {
      const { receipts, lease, go, committed } = await committing()
      expect(await receipts.complete(lease, '2')).toBe(false)
      await receipts.release(lease)
      expect((await receipts.claim('', 'k', 'f', 1_000)).state).toBe('busy')
      go()
      await expect(committed).rejects.toThrow('the effect fails')
      expect((await receipts.claim('', 'k', 'f', 1_000)).state).toBe('claimed')
    })

    test('are held by a process that froze for no longer than the lease was given for, and five seconds at least', async () => {
      const { receipts } = world.open().store
      const idle: unknown[] = []
      for (const [key, leaseMs] of [
        ['short', 1],
        ['long', 60_000],
        ['longest', 2 ** 40],
      ] as const) {
        const { lease } = (await receipts.claim('', key, 'f', leaseMs)) as { lease: Lease }
        await receipts.commit?.(lease, null, async (client) => {
          const { rows } = await client.query({ text: 'SHOW idle_in_transaction_session_timeout' })
          idle.push(...rows)
        })
      }
      expect(idle.map((row) => Object.values(row as object)[0])).toEqual(['5s', '1min', '2147483647ms'])
      expect(
        await count(
          "SELECT count(*) FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout' AND setting = '0'",
        ),
      ).toBe(1)
    })
  })

  /** A way to the database that can swallow what is sent on the connections of now. */
  async function swallowingWay() {
    const { hostname, port } = new URL(postgresUrl)
    const sockets = new Set<{ near: net.Socket; far: net.Socket; isBlack: boolean }>()
    const server = net.createServer((near) => {
      const far = net.connect(Number(port || 5432), hostname)
      const pair = { near, far, isBlack: false }
      sockets.add(pair)
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on('error', () => {})
        from.on('data', (bytes) => pair.isBlack || to.write(bytes))
        from.on('close', () => pair.isBlack || to.destroy())
      }
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = new URL(postgresUrl)
    url.hostname = '127.0.0.1'
    url.port = String((server.address() as AddressInfo).port)
    return {
      url: String(url),
      swallow() {
        for (const pair of sockets) pair.isBlack = true
      },
      async [Symbol.asyncDispose]() {
        for (const { near, far } of sockets) {
          near.destroy()
          far.destroy()
        }
        await new Promise((resolve) => server.close(resolve))
      },
    }
  }

  test('when the network swallows what is sent, publish rejects, and all goes on by new connections', async () => {
    await using way = await swallowingWay()
    const pool = new Pool({ connectionString: way.url, max: 4 }).on('error', () => {})
    const store = postgresStore({ pool, schema: world.schema, statementTimeoutMs: 1_500 })
    const hub = createHub({ store })
    const other = openHub().hub
    try {
      const reader = await hub.subscribe('s')
      await hub.publish('s', { data: 'before' })
      await Promise.all(Array.from({ length: 8 }, () => store.read('s', 0, { limit: 1 })))
      way.swallow()
      const doubtful = hub.publish('s', { data: 'in doubt' })
      doubtful.catch(() => {})
      const next = (async () => {
        await expect(doubtful).rejects.toMatchObject({ code: 'PUBLISH_TIMEOUT' })
        await hub.publish('s', { data: 'after' })
      })()
      await other.publish('s', { data: 'of another' })
      const seen: unknown[] = []
      while (seen.length < 3) {
        const { value } = await reader.next()
        seen.push(value?.type === 'event' ? value.data : value)
      }
      await next
      expect(seen).toEqual(['before', 'of another', 'after'])
      expect(await store.receipts.claim('', 'k', 'f', 1_000)).toMatchObject({ state: 'claimed' })
    } finally {
      await hub.close()
      await pool.end()
    }
  })

  describe('streams that transactions have locked', () => {
    test('take no connections from others: reads, joins and other streams go on, and all are written in the end', async () => {
      const { hub, pool } = openHub()
      const streams = Array.from({ length: 6 }, (_, n) => `locked ${n}`)
      const transactions = await Promise.all(streams.map(() => world.begin()))
      for (const [n, stream] of streams.entries()) {
        await hub.publish(stream, { data: 'first' })
        await hub.publish(stream, { data: 'in a transaction' }, { transaction: transactions[n]?.client })
      }
      const waiting = Promise.all(streams.map((stream) => hub.publish(stream, { data: 'waits' })))
      const blocked = () =>
        count(
          "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '300 ms'",
          [world.application],
        )
      await expect.poll(blocked, patient).toBe(1)
      for (let n = 0; n < 10; n++) {
        await hub.publish('another', { data: String(n) })
        await hub.read('locked 0')
        await hub.subscribe(`new ${n}`)
        expect(await blocked()).toBeLessThanOrEqual(1)
      }
      expect(pool.waitingCount).toBeLessThanOrEqual(pool.totalCount)
      for (const { commit } of transactions) await commit()
      await waiting
      for (const stream of streams) expect((await hub.read(stream)).items).toHaveLength(3)
    })

    test('when they are new, keep readers waiting, by one connection at most', async () => {
      const { store, hub, pool } = openHub()
      const { client, commit } = await world.begin()
      await hub.publish('new', { data: 'x' }, { transaction: client })
      const joining = Promise.all(Array.from({ length: 20 }, () => store.open('new')))
      const waits = () => pool.totalCount - pool.idleCount
      await expect.poll(waits, patient).toBe(1)
      await hub.publish('another', { data: 'x' })
      await commit()
      for (const { head } of await joining) expect(head).toBe(1)
    })

    test('are given up in time, and it is said that nothing was written', async () => {
      const { store } = world.open({ statementTimeoutMs: 1_000 })
      const { client, rollback } = await world.begin()
      await store.append('s', [event('rolled back')], { transaction: client })
      const locked = { code: 'STORE_UNAVAILABLE', message: expect.stringContaining('locked') }
      await expect(store.append('s', [event('x')])).rejects.toMatchObject(locked)
      await expect((async () => store.seal('s'))()).rejects.toMatchObject(locked)
      await rollback()
      expect(await store.read('s', 0, { limit: 1 })).toBeNull()
      await store.append('s', [event('after')])
      expect(await store.open('s')).toMatchObject({ head: 1, sealed: false })
    })

    test('several publishes at once in one transaction go one after the other', async () => {
      const { store } = world.open()
      const { client, commit } = await world.begin()
      let [now, most] = [0, 0]
      const transaction = {
        async query(query: { text: string; values?: unknown[] }) {
          most = Math.max(most, ++now)
          try {
            return await client.query(query)
          } finally {
            now--
          }
        },
      }
      await Promise.all(['1', '2', '3'].map((data) => store.append('s', [event(data)], { transaction })))
      await commit()
      expect(most).toBe(1)
      expect((await store.read('s', 0, { limit: 5 }))?.events.map(({ data }) => data)).toEqual(['1', '2', '3'])
    })
  })

  test('it does not matter what the parsers of the user make of numbers, booleans and arrays', async () => {
    const types = { getTypeParser: (oid: number) => (text: string) => (oid === 25 ? text : { oid }) }
    const pool = new Pool({ connectionString: postgresUrl, max: 3, types: types as never }).on('error', () => {})
    const store = postgresStore({
      pool,
      schema: world.schema,
      maxAgeMs: 1_000,
      idleTtlMs: 1_000,
      sweepMs: 10,
      pollMs: 10,
      hints: false,
    })
    const hub = createHub({ store })
    try {
      const reader = await hub.subscribe('s')
      await hub.publish('s', [{ data: '1', key: 'a' }, { data: '2' }, { data: '3', key: 'b' }])
      expect(await store.append('s', [event('1', 'b'), event('4'), event('1', 'a')])).toMatchObject([
        { offset: 3, duplicate: true },
        { offset: 4, duplicate: false },
        { offset: 1, duplicate: true },
      ])
      for (const data of ['1', '2', '3', '4']) expect((await reader.next()).value).toMatchObject({ data })
      const claim = await store.receipts.claim('', 'k', 'f', 60_000)
      if (claim.state !== 'claimed') throw new Error(`got ${claim.state}`)
      const busy = await store.receipts.claim('', 'k', 'f', 60_000)
      expect(busy.state === 'busy' && busy.heldMs + busy.leftMs).toBeCloseTo(60_000, -1)
      expect(await store.receipts.complete(claim.lease, '1')).toBe(true)
      expect(await store.receipts.claim('', 'k', 'f', 60_000)).toEqual({ state: 'done', answer: '1' })
      await expect.poll(async () => (await store.open('s')).first, patient).toBe(5)
      expect(await store.seal('s')).toMatchObject({ head: 4, sealed: true })
      await expect(store.append('s', [event('x')])).rejects.toMatchObject({ code: 'SEALED' })
    } finally {
      await hub.close()
      await pool.end()
    }
  })

  test('a pool of one connection cannot listen and work', async () => {
    const pool = new Pool({ connectionString: postgresUrl, max: 1 }).on('error', () => {})
    expect(() => postgresStore({ pool })).toThrow(/`pool`.*at least 2.*`listen`.*`hints: false`/)
    const store = postgresStore({ pool, schema: world.schema, hints: false })
    await store.append('s', [event('x')])
    await pool.end()
  })

  describe('the sweep', () => {
    const streams = () => count(`SELECT count(*) FROM ${world.schema}.steady_streams`)

    test('forgets no record of a stream that is watched here, however old it looks', async () => {
      const { hub, store } = openHub({ idleTtlMs: 3_600_000 })
      await hub.subscribe('read')
      await store.open('unread')
      await world.admin.query(`UPDATE ${world.schema}.steady_streams SET used_at = now() - interval '2 h'`)
      await expect.poll(streams, patient).toBe(1)
      await store.open('unread')
      await world.admin.query(`UPDATE ${world.schema}.steady_streams SET used_at = now() - interval '2 h'`)
      await expect.poll(streams, patient).toBe(1)
      expect(await store.read('read', 0, { limit: 0 })).toMatchObject({ head: 0 })
    })

    test('marks what is watched again when that failed, and waits for no stream that is locked', async () => {
      const pool = new Pool({ connectionString: postgresUrl, max: 4 }).on('error', () => {})
      let failures = 0
      tap(pool, (text) => {
        if (!text.includes('SET used_at') || failures++ > 0) return undefined
        throw new Error('away')
      })
      const store = postgresStore({ pool, schema: world.schema, sweepMs: 10, idleTtlMs: 86_400_000 })
      await store.open('read')
      await store.open('locked')
      await world.admin.query(`UPDATE ${world.schema}.steady_streams SET used_at = now() - interval '1 h'`)
      const { client, rollback } = await world.begin()
      await store.append('locked', [event('x')], { transaction: client })
      const hub = createHub({ store })
      try {
        await hub.subscribe('locked')
        await hub.subscribe('read')
        const fresh = () =>
          count(`SELECT count(*) FROM ${world.schema}.steady_streams WHERE used_at > now() - interval '30 min'`)
        await expect.poll(fresh, patient).toBe(1)
        expect(failures).toBeGreaterThan(1)
      } finally {
        await rollback()
        await hub.close()
        await pool.end()
      }
    })
  })
})
