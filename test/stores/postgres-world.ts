import { Pool, type PoolClient } from 'pg'
import { expect } from 'vitest'
import { systemClock } from '../../src/protocol/clock.js'
import type { StoreHost } from '../../src/protocol/store.js'
import {
  type PostgresPool,
  type PostgresResult,
  type PostgresStore,
  type PostgresStoreOptions,
  postgresStore,
} from '../../src/stores/postgres.js'
import type { ReceiptsHarness, StoreHarness, StoreTransaction } from '../../src/testing/index.js'

export const postgresUrl = process.env.STEADY_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'

/** Whether a PostgreSQL answers there. */
export async function postgresAnswers(): Promise<boolean> {
  const pool = new Pool({ connectionString: postgresUrl, connectionTimeoutMillis: 2_000 }).on('error', () => {})
  try {
    await pool.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await pool.end()
  }
}

const MAX_AGE_MS = 600_000
const host: StoreHost = { clock: systemClock, maxStreams: 10_000, sealedTtlMs: 86_400_000 }

/** Tells of each statement of a pool, before it is sent; one that is answered is not sent. */
export function tap(pool: Pool, told: (text: string) => PostgresResult | undefined): Pool {
  return pool.on('connect', (client) => {
    const send: (...given: unknown[]) => unknown = client.query.bind(client)
    const query = (first: string | { text: string }, ...rest: unknown[]) => {
      const answer = told(typeof first === 'string' ? first : first.text)
      return answer ? Promise.resolve(answer) : send(first, ...rest)
    }
    Object.assign(client, { query })
  })
}

interface OpenStore {
  readonly store: PostgresStore
  readonly pool: Pool
  close(): Promise<void>
}

/** A schema of its own in the database, and stores on it, each with a pool of its own as another process would have. */
export class PostgresWorld implements AsyncDisposable {
  readonly schema = `steady_test_${process.pid}_${Math.random().toString(36).slice(2, 8)}`
  /** For all that is done behind the stores' backs. */
  readonly admin = new Pool({ connectionString: postgresUrl, max: 32, application_name: 'steady-test-admin' })
  dropsHints = false
  isAway = false
  readonly #open = new Set<OpenStore>()
  readonly #clients = new Set<PoolClient>()

  constructor() {
    this.admin.on('error', () => {})
  }

  static async begin(): Promise<PostgresWorld> {
    const world = new PostgresWorld()
    const { store, close } = world.open()
    await store.migrate()
    await close()
    return world
  }

  get application(): string {
    return this.schema
  }

  open(options: Partial<PostgresStoreOptions> = {}): OpenStore {
    const connection = { connectionString: postgresUrl, application_name: this.application }
    const pool = new Pool({ ...connection, max: 4 }).on('error', () => {})
    tap(pool, (text) => {
      const isDropped = this.dropsHints && text.includes('pg_notify(')
      return isDropped ? { rows: [], rowCount: 0, command: '' } : undefined
    })
    const store = postgresStore({
      schema: this.schema,
      maxAgeMs: MAX_AGE_MS,
      sweepMs: 10,
      ...options,
      pool: this.#through(pool),
    })
    const detach = store.attach?.(host)
    const opened = {
      store,
      pool,
      close: async () => {
        this.#open.delete(opened)
        detach?.()
        await store.close?.()
        await pool.end()
      },
    }
    this.#open.add(opened)
    return opened
  }

  /** The pool, as long as there is a way to the database. */
  #through(pool: Pool): PostgresPool {
    const reach = () => {
      if (this.isAway) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    }
    return {
      options: pool.options,
      query: async (query) => {
        reach()
        return pool.query(query)
      },
      connect: async () => {
        reach()
        return pool.connect()
      },
    }
  }

  async empty(): Promise<void> {
    const { schema } = this
    await this.admin.query(`TRUNCATE ${schema}.steady_streams, ${schema}.steady_events, ${schema}.steady_receipts`)
  }

  /** Ends the connections of all stores. @param like - which of their last queries. */
  async cut(like = '%'): Promise<number> {
    const { rowCount } = await this.admin.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE $2',
      [this.application, like],
    )
    return rowCount ?? 0
  }

  async disconnect(): Promise<() => void> {
    this.isAway = true
    await this.cut()
    return () => {
      this.isAway = false
    }
  }

  async snapshot(): Promise<() => Promise<void>> {
    const { schema } = this
    const tables = ['steady_streams', 'steady_events']
    for (const table of tables) {
      await this.admin.query(
        `DROP TABLE IF EXISTS ${schema}.copy_${table}; CREATE TABLE ${schema}.copy_${table} AS TABLE ${schema}.${table}`,
      )
    }
    return async () => {
      const back = tables.map((table) => `INSERT INTO ${schema}.${table} SELECT * FROM ${schema}.copy_${table};`)
      await this.admin.query(`TRUNCATE ${tables.map((table) => `${schema}.${table}`).join()}; ${back.join('')}`)
    }
  }

  async begin(): Promise<StoreTransaction & { readonly client: PoolClient }> {
    const client = await this.admin.connect()
    this.#clients.add(client)
    await client.query('BEGIN')
    const end = async (how: string) => {
      await client.query(how)
      this.#clients.delete(client)
      client.release()
    }
    return { handle: client, client, commit: () => end('COMMIT'), rollback: () => end('ROLLBACK') }
  }

  /** Makes all that is stored so much older, and waits for the sweep. */
  async age(ms: number): Promise<void> {
    const { schema } = this
    const older = `- ${ms} * interval '1 ms'`
    await this.admin.query(
      `UPDATE ${schema}.steady_events SET at = at ${older}; UPDATE ${schema}.steady_streams
        SET first_at = first_at ${older}, used_at = used_at ${older}, sealed_until = sealed_until ${older}`,
    )
    await expect
      .poll(
        async () => {
          const { rows } = await this.admin.query(
            `SELECT count(*) FROM ${schema}.steady_streams WHERE first_at <= clock_timestamp() - ${MAX_AGE_MS} * interval '1 ms'`,
          )
          return Number(rows[0].count)
        },
        { timeout: 10_000, interval: 10 },
      )
      .toBe(0)
  }

  /** For one case: empty tables, and everything closed that was opened. */
  async harness(): Promise<StoreHarness> {
    await this.empty()
    return {
      open: () => this.open({ maxEvents: 16 }).store,
      wipe: () => this.empty(),
      snapshot: () => this.snapshot(),
      dropHints: (on) => {
        this.dropsHints = on
      },
      disconnect: () => this.disconnect(),
      transaction: () => this.begin(),
      maxEvents: 16,
      maxAgeMs: MAX_AGE_MS,
      advance: (ms) => this.age(ms),
      close: () => this.closeAll(),
    }
  }

  /** @param ttlMs - as long as by default when left out. */
  async receiptsHarness(ttlMs?: number): Promise<ReceiptsHarness<unknown>> {
    const { schema } = this
    await this.empty()
    await this.admin.query(
      `DROP TABLE IF EXISTS ${schema}.effects; CREATE TABLE ${schema}.effects (id serial, text text)`,
    )
    return {
      open: () => this.open({ receiptTtlMs: ttlMs }).store.receipts,
      shared: true,
      ttlMs,
      effect: async (transaction, text) => {
        await (transaction as PoolClient).query(`INSERT INTO ${schema}.effects (text) VALUES ($1)`, [text])
      },
      effects: async () => {
        const { rows } = await this.admin.query(`SELECT text FROM ${schema}.effects ORDER BY id`)
        return rows.map(({ text }) => text)
      },
      breakOff: async (transaction) => {
        const { rows } = await (transaction as PoolClient).query('SELECT pg_backend_pid() AS pid')
        await this.admin.query('SELECT pg_terminate_backend($1)', [rows[0].pid])
      },
      disconnect: () => this.disconnect(),
      close: () => this.closeAll(),
    }
  }

  async closeAll(): Promise<void> {
    this.dropsHints = false
    this.isAway = false
    for (const client of this.#clients) client.release(true)
    this.#clients.clear()
    await Promise.all([...this.#open].map(({ close }) => close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeAll()
    await this.admin.query(`DROP SCHEMA IF EXISTS ${this.schema} CASCADE`)
    await this.admin.end()
  }
}
