import { randomEpoch } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import { type SqliteConnection, type SqliteDatabase, toText } from './sqlite-connection.js'

/** How long a receipt whose lease is over is kept if nobody takes the key, besides `ttlMs`; and how many go at a time. */
const STEP = 8

export interface SqliteReceiptsOptions<Database extends SqliteDatabase> {
  readonly db: Database
  readonly connection: SqliteConnection
  readonly prefix: string
  readonly ttlMs: number
  readonly maxItems: number
  readonly now: () => number
  /** Runs `change` in a transaction; with `isAlone`, in one of its own. */
  readonly change: <T>(change: () => T, isAlone?: boolean) => Promise<T>
}

interface Row {
  readonly id: number
  readonly fingerprint: string
  readonly token: string
  readonly since: number
  readonly until: number
  readonly done: number
  readonly answer: string | null
}

/** Receipts in the file of a store; an effect runs in the transaction of its receipt. */
export class SqliteReceipts<Database extends SqliteDatabase> implements Receipts<Database> {
  readonly #options: SqliteReceiptsOptions<Database>
  readonly #receipts: string
  readonly #counts: string

  constructor(options: SqliteReceiptsOptions<Database>) {
    this.#options = options
    this.#receipts = `${options.prefix}receipts`
    this.#counts = `${options.prefix}counts`
  }

  claim(scope: string, key: string, fingerprint: string, leaseMs: number): Promise<Claim> {
    return this.#options.change((): Claim => {
      const now = this.#options.now()
      const row = this.#find(scope, key)
      if (row?.done && now < row.until) {
        return row.fingerprint === fingerprint ? { state: 'done', answer: row.answer } : { state: 'mismatch' }
      }
      if (row && !row.done && now < row.until) {
        if (row.fingerprint !== fingerprint) return { state: 'mismatch' }
        return { state: 'busy', heldMs: Math.max(0, now - row.since), leftMs: row.until - now }
      }
      if (row) this.#delete('id = ?', row.id)
      else this.#makeRoom(now)
      const token = randomEpoch()
      this.#options.connection
        .sql(
          `INSERT INTO ${this.#receipts} (scope, key, fingerprint, token, since, until, done) VALUES (?, ?, ?, ?, ?, ?, 0)`,
        )
        .run(toText(scope), key, fingerprint, token, now, now + Math.ceil(leaseMs))
      this.#count(1)
      return { state: 'claimed', lease: { scope, key, token } }
    })
  }

  complete(lease: Lease, answer: string | null): Promise<boolean> {
    return this.#options.change(() => this.#complete(lease, answer))
  }

  commit(lease: Lease, answer: string | null, effect: (db: Database) => void | Promise<void>): Promise<boolean> {
    return this.#options.change(() => {
      if (!this.#complete(lease, answer)) return false
      const result: unknown = effect(this.#options.db)
      if (!(result instanceof Promise)) return true
      // Nobody else waits for it.
      result.catch(() => {})
      throw new TypeError(
        'Expected the `commit` of a message to be a function that ends when it returns, got one that returns a promise: a transaction of SQLite waits for nothing. Do what takes time before, and write in `commit`.',
      )
    }, true)
  }

  release(lease: Lease): Promise<void> {
    return this.#options.change(() => {
      this.#delete('scope = ? AND key = ? AND token = ? AND done = 0', toText(lease.scope), lease.key, lease.token)
    })
  }

  #find(scope: string, key: string): Row | undefined {
    const sql = `SELECT * FROM ${this.#receipts} WHERE scope = ? AND key = ?`
    const row = this.#options.connection.row(sql, toText(scope), key) as Row | undefined
    return row && { ...row, since: Number(row.since), until: Number(row.until), done: Number(row.done) }
  }

  #complete({ scope, key, token }: Lease, answer: string | null): boolean {
    const until = this.#options.now() + this.#options.ttlMs
    const { changes } = this.#options.connection
      .sql(
        `UPDATE ${this.#receipts} SET done = 1, until = ?, answer = ? WHERE scope = ? AND key = ? AND token = ? AND done = 0`,
      )
      .run(until, answer, toText(scope), key, token)
    return Number(changes) === 1
  }

  /** Deletes what is over, some at a time; when full, what was done first, and then who has held a key beyond its lease. */
  #makeRoom(now: number): void {
    const { connection, maxItems, ttlMs } = this.#options
    this.#deleteSome('done = 1 AND until <= ?', now)
    this.#deleteSome('done = 0 AND until <= ?', now - ttlMs)
    const row = connection.row(`SELECT count FROM ${this.#counts} WHERE name = 'receipts'`) as
      | { count: number }
      | undefined
    const excess = Number(row?.count ?? 0) + 1 - maxItems
    if (excess <= 0) return
    const isRoom =
      this.#deleteSome('done = 1 AND until > ?', 0, Math.min(excess, STEP)) > 0 ||
      this.#deleteSome('done = 0 AND until <= ?', now, 1) > 0
    if (isRoom) return
    throw new SseError(
      'OVERLOADED',
      `All \`maxReceipts\` (${maxItems}) receipts are of messages being handled; there is no room for one more.`,
    )
  }

  #deleteSome(which: string, value: number, most = STEP): number {
    return this.#delete(
      `id IN (SELECT id FROM ${this.#receipts} WHERE ${which} ORDER BY until, id LIMIT ${most})`,
      value,
    )
  }

  #delete(which: string, ...values: (string | number)[]): number {
    const { changes } = this.#options.connection.sql(`DELETE FROM ${this.#receipts} WHERE ${which}`).run(...values)
    if (Number(changes) > 0) this.#count(-Number(changes))
    return Number(changes)
  }

  #count(by: number): void {
    const sql = `INSERT INTO ${this.#counts} VALUES ('receipts', ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count`
    this.#options.connection.sql(sql).run(by)
  }
}
