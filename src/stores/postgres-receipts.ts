import { randomEpoch } from '../protocol/cursor.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import { inTransaction, type PostgresClient, type PostgresPool, type PostgresResult } from './postgres-pool.js'
import { explained, type PostgresNames } from './postgres-schema.js'
import { toText } from './postgres-text.js'

/** With so many claims, a few receipts whose time is up go. */
const CLAIMS_PER_PRUNE = 16
const PRUNED_AT_ONCE = 64

/** Receipts in a table. Their time is the database's. */
export class PostgresReceipts implements Receipts<PostgresClient> {
  readonly #pool: PostgresPool
  readonly #ttlMs: number
  readonly #claimSql: string
  readonly #completeSql: string
  readonly #releaseSql: string
  readonly #pruneSql: string
  #claims = 0

  constructor(pool: PostgresPool, { receipts }: PostgresNames, ttlMs: number) {
    this.#pool = pool
    this.#ttlMs = ttlMs
    // No key holds a line break. The first look takes no lock: who asks for a key whose effect is under way need not wait.
    const id = "sha256(convert_to($2 || E'\\n' || $1, 'UTF8'))"
    this.#claimSql = `WITH seen AS (
        SELECT * FROM ${receipts} WHERE id = ${id} AND until > clock_timestamp()
      ), claimed AS (
        INSERT INTO ${receipts} AS r (id, scope, key, token, fingerprint, since, until)
        SELECT ${id}, $1, $2, $3, $4, clock_timestamp(), clock_timestamp() + $5::float8 * interval '1 ms'
        WHERE NOT EXISTS (SELECT FROM seen)
        ON CONFLICT (id) DO UPDATE SET token = excluded.token, fingerprint = excluded.fingerprint,
          since = excluded.since, until = excluded.until, done = false, answer = NULL
        WHERE r.until <= clock_timestamp()
        RETURNING token
      )
      SELECT true AS claimed, NULL AS fingerprint, NULL AS done, NULL AS answer, NULL AS held, NULL AS left FROM claimed
      UNION ALL
      SELECT false, fingerprint, done, answer, 1000 * extract(epoch FROM clock_timestamp() - since),
        1000 * extract(epoch FROM until - clock_timestamp()) FROM seen`
    this.#completeSql = `UPDATE ${receipts} SET done = true, answer = $4,
        until = clock_timestamp() + $5::float8 * interval '1 ms'
      WHERE id = ${id} AND token = $3 AND NOT done`
    this.#releaseSql = `DELETE FROM ${receipts} WHERE id = ${id} AND token = $3 AND NOT done`
    // A lease that is over is remembered for a while: whoever is late may still complete it.
    this.#pruneSql = `DELETE FROM ${receipts} WHERE id IN (
        SELECT id FROM ${receipts} WHERE until < clock_timestamp() - interval '10 min'
        LIMIT ${PRUNED_AT_ONCE} FOR UPDATE SKIP LOCKED)`
  }

  async claim(scope: string, key: string, fingerprint: string, leaseMs: number): Promise<Claim> {
    if (this.#claims++ % CLAIMS_PER_PRUNE === 0) this.#prune()
    const print = toText(fingerprint)
    for (;;) {
      const token = randomEpoch()
      const values = [toText(scope), key, token, print, leaseMs]
      const [row] = (await run(this.#pool, this.#claimSql, values)).rows as ClaimRow[]
      // Neither seen nor claimed: another one was faster by a moment. Now it is seen.
      if (!row) continue
      if (row.claimed) return { state: 'claimed', lease: { scope, key, token } }
      if (row.fingerprint !== print) return { state: 'mismatch' }
      if (row.done) return { state: 'done', answer: row.answer }
      return { state: 'busy', heldMs: Math.max(0, Number(row.held)), leftMs: Math.max(0, Number(row.left)) }
    }
  }

  async complete(lease: Lease, answer: string | null): Promise<boolean> {
    return this.#complete(this.#pool, lease, answer)
  }

  async commit(
    lease: Lease,
    answer: string | null,
    effect: (transaction: PostgresClient) => void | Promise<void>,
  ): Promise<boolean> {
    const work = async (client: PostgresClient) => {
      // First the receipt: whoever takes the key over meanwhile waits until this is decided.
      const holds = await this.#complete(client, lease, answer)
      if (holds) await effect(client)
      return holds
    }
    return inTransaction(this.#pool, 'BEGIN', work, (holds) => holds)
  }

  async release({ scope, key, token }: Lease): Promise<void> {
    await run(this.#pool, this.#releaseSql, [toText(scope), key, token])
  }

  async #complete(client: PostgresClient, { scope, key, token }: Lease, answer: string | null): Promise<boolean> {
    const { rowCount } = await run(client, this.#completeSql, [toText(scope), key, token, answer, this.#ttlMs])
    return rowCount === 1
  }

  #prune(): void {
    this.#pool.query({ text: this.#pruneSql }).catch(() => {})
  }
}

interface ClaimRow {
  readonly claimed: boolean
  readonly fingerprint: string | null
  readonly done: boolean | null
  readonly answer: string | null
  readonly held: unknown
  readonly left: unknown
}

async function run(client: PostgresClient, text: string, values: unknown[] = []): Promise<PostgresResult> {
  try {
    return await client.query({ text, values })
  } catch (error) {
    throw explained(error)
  }
}
