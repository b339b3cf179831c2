// A process on a store: it appends, and it follows what another one appends.
import { createClient } from '@redis/client'
import Database from 'libsql'
import { Pool } from 'pg'
import { memoryStore } from 'steady-sse/memory'
import { postgresStore } from 'steady-sse/postgres'
import { redisStore } from 'steady-sse/redis'
import { createHub, type Hub } from 'steady-sse/server'
import { sqliteStore } from 'steady-sse/sqlite'
import { answer, cpu } from '../child.js'
import { microseconds } from '../payload.js'

export type StoreName = 'memory' | 'sqlite' | 'sqlite, synchronous normal' | 'redis' | 'postgres'

const STREAM = 'bench'
let hub: Hub
let clean: (() => Promise<void>) | undefined
const delays: number[] = []
let following: Promise<void> | undefined

async function open(name: StoreName, place: string, first: boolean): Promise<Hub> {
  switch (name) {
    case 'memory':
      return createHub({ store: memoryStore() })
    case 'sqlite':
      return createHub({ store: sqliteStore({ db: new Database(place) }) })
    case 'sqlite, synchronous normal':
      return createHub({ store: sqliteStore({ db: new Database(place), synchronous: 'normal' }) })
    case 'redis': {
      const url = process.env.STEADY_REDIS_URL ?? 'redis://127.0.0.1:6379'
      const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 2_000 } })
      await client.on('error', () => {}).connect()
      clean = async () => {
        for await (const keys of client.scanIterator({ MATCH: `${place}*` }))
          if (keys.length > 0) await client.unlink(keys)
      }
      return createHub({ store: redisStore({ client, prefix: place }) })
    }
    case 'postgres': {
      const connectionString = process.env.STEADY_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
      const pool = new Pool({ connectionString, connectionTimeoutMillis: 2_000 }).on('error', () => {})
      const store = postgresStore({ pool, schema: place })
      if (first) await store.migrate()
      clean = async () => void (await pool.query(`DROP SCHEMA IF EXISTS ${place} CASCADE`))
      return createHub({ store })
    }
  }
}

const verbs = {
  async open(name: StoreName, place: string, first: boolean): Promise<void> {
    hub = await open(name, place, first)
  },
  /** Appends so many, `together` at a time. Returns the delay of each in microseconds, and what all took. */
  async append(count: number, together: number) {
    const each: number[] = []
    const before = cpu()
    const begun = microseconds()
    let left = count
    await Promise.all(
      Array.from({ length: together }, async () => {
        while (left-- > 0) {
          const from = microseconds()
          await hub.publish('other', { data: 'x'.repeat(200) })
          each.push(microseconds() - from)
        }
      }),
    )
    return { each, took: microseconds() - begun, cpu: (cpu() - before) / count }
  },
  async follow(count: number): Promise<void> {
    const subscription = await hub.subscribe(STREAM)
    following = (async () => {
      for await (const item of subscription) {
        if (item.type === 'event') delays.push(microseconds() - Number(item.data))
        if (delays.length === count) break
      }
    })()
  },
  async publish(count: number, everyMs: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      await hub.publish(STREAM, { data: String(microseconds()) })
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
  },
  async delays(): Promise<number[]> {
    await following
    return delays
  },
  clean: async (): Promise<void> => clean?.(),
}

export type StoreVerbs = typeof verbs

answer(verbs)
