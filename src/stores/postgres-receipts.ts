import { randomEpoch } from '../protocol/cursor.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import type { PostgresConnections, RunStatement } from './postgres-connections.js'
import { type PostgresClient, type PostgresResult, sqlState } from './postgres-pool.js'
import { explained, type PostgresNames } from './postgres-schema.js'
import { toText } from './postgres-text.js'

/** With so many claims, a few receipts whose time is up go. */
const CLAIMS_PER_PRUNE = 16
const PRUNED_AT_ONCE = 64
/** How often a key is looked at that others are claiming. */
const MAX_TRIES = 4
/** The least, and the most, that an effect may let its transaction rest. */
const LEAST_IDLE_MS = 5_000
const MAX_IDLE_MS = 2 ** 31 - 1

/** Receipts in a table. Their time is the database's. */
export class PostgresReceipts implements Receipts<PostgresClient> {
  readonly #connections: PostgresConnections
  readonly #ttlMs: number
  readonly #claimSql: string
  readonly #completeSql: string
  readonly #releaseSql: string
  readonly #pruneSql: string
  #claims = 0

  constructor(connections: PostgresConnections, { receipts }: PostgresNames, ttlMs: number) {
    this.#connections = connections
    this.#ttlMs = ttlMs
    // No key holds a line break.
    const id = "sha256(convert_to($2 || E'\\n' || $1, 'UTF8'))"
    const lease = "clock_timestamp() + $5::float8 * interval '1 ms'"
    // Nothing waits for the lock of a receipt: whoever holds it is in the middle of handling the message. So the time of
    // a lease begins when it is given.
    this.#claimSql = `WITH seen AS (
        SELECT * FROM ${receipts} WHERE id = ${id}
      ), free AS (
        SELECT id FROM ${receipts} WHERE id = ${id} AND until <= clock_timestamp() FOR UPDATE SKIP LOCKED
      ), taken AS (
        UPDATE ${receipts} AS r SET token = $3, fingerprint = $4, since = clock_timestamp(), until = ${lease},
          done = false, answer = NULL
        FROM free WHERE r.id = free.id RETURNING r.id
      ), added AS (
        INSERT INTO ${receipts} (id, scope, key, token, fingerprint, since, until)
        SELECT ${id}, $1, $2, $3, $4, clock_timestamp(), ${lease} WHERE NOT EXISTS (SELECT FROM seen)
        ON CONFLICT (id) DO NOTHING RETURNING id
      )
      SELECT 'claimed' AS state, NULL AS fingerprint, NULL AS answer, NULL AS held, NULL AS left
      FROM (SELECT id FROM taken UNION ALL SELECT id FROM added) c
      UNION ALL
      SELECT CASE WHEN until <= clock_timestamp() THEN 'over' WHEN done THEN 'done' ELSE 'held' END, fingerprint, answer,
        (1000 * extract(epoch FROM clock_timestamp() - since))::text,
        (1000 * extract(epoch FROM until - clock_timestamp()))::text FROM seen`
    const held = `SELECT id, until - since AS lease FROM ${receipts}
      WHERE id = ${id} AND token = $3 AND NOT done FOR UPDATE SKIP LOCKED`
    // The last is for a transaction alone: that of a process that is frozen amid an effect ends after as long as the
    // lease was given for.
    this.#completeSql = `WITH held AS (${held})
      UPDATE ${receipts} AS r SET done = true, answer = $4, until = ${lease} FROM held WHERE r.id = held.id
      RETURNING CASE WHEN $6::bigint IS NOT NULL THEN set_config('idle_in_transaction_session_timeout',
        least(${MAX_IDLE_MS}, greatest($6, ceil(1000 * extract(epoch FROM held.lease))))::bigint::text, true) END`
    this.#releaseSql = `WITH held AS (${held}) DELETE FROM ${receipts} AS r USING held WHERE r.id = held.id`
    // A lease that is over is remembered for a while: whoever is late may still complete it.
    this.#pruneSql = `DELETE FROM ${receipts} WHERE id IN (
        SELECT id FROM ${receipts} WHERE until < clock_timestamp() - interval '10 min'
        LIMIT ${PRUNED_AT_ONCE} FOR UPDATE SKIP LOCKED)`
  }

  async claim(scope: string, key: string, fingerprint: string, leaseMs: number): Promise<Claim> {
    if (this.#claims++ % CLAIMS_PER_PRUNE === 0) this.#prune()
    const print = toText(fingerprint)
    let busy: Claim = { state: 'busy', heldMs: 0, leftMs: 0 }
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const token = randomEpoch()
      const rows = await this.#claim([toText(scope), key, token, print, leaseMs])
      if (rows.some(({ state }) => state === 'claimed')) return { state: 'claimed', lease: { scope, key, token } }
      const [seen] = rows
      // Another one was faster by a moment. Now it is seen.
      if (!seen) continue
      busy = { state: 'busy', heldMs: Math.max(0, Number(seen.held)), leftMs: Math.max(0, Number(seen.left)) }
      // The lease is over, and yet somebody has the row: for a moment, or to commit what it was given for.
      if (seen.state === 'over') continue
      if (seen.fingerprint !== print) return { state: 'mismatch' }
      return seen.state === 'done' ? { state: 'done', answer: seen.answer } : busy
    }
    return busy
  }

  complete(lease: Lease, answer: string | null): Promise<boolean> {
    return this.#complete((query) => this.#connections.query(query), lease, answer)
  }

  async commit(
    lease: Lease,
    answer: string | null,
    effect: (transaction: PostgresClient) => void | Promise<void>,
  ): Promise<boolean> {
    const work = async (client: PostgresClient, run: RunStatement) => {
      // First the receipt: nobody else takes the key over until this is decided.
      const holds = await this.#complete(run, lease, answer, LEAST_IDLE_MS)
      if (holds) await effect(client)
      return holds
    }
    return this.#connections.transaction('BEGIN', work, (holds) => holds)
  }

  async release({ scope, key, token }: Lease): Promise<void> {
    const query = { text: this.#releaseSql, values: [toText(scope), key, token] }
    await told(this.#connections.query(query))
  }

  async #claim(values: unknown[]): Promise<ClaimRow[]> {
    try {
      return (await told(this.#connections.query({ text: this.#claimSql, values }))).rows as ClaimRow[]
    } catch (error) {
      // The database is set to repeatable read: nothing was done, and the next try sees what was.
      if (sqlState(error) === '40001') return []
      throw error
    }
  }

  async #complete(
    run: RunStatement,
    { scope, key, token }: Lease,
    answer: string | null,
    idleMs: number | null = null,
  ): Promise<boolean> {
    const values = [toText(scope), key, token, answer, this.#ttlMs, idleMs]
    const { rowCount } = await told(run({ text: this.#completeSql, values }))
    return rowCount === 1
  }

  #prune(): void {
    this.#connections.query({ text: this.#pruneSql }, this.#connections.lookMs).catch(() => {})
  }
}

interface ClaimRow {
  readonly state: 'claimed' | 'held' | 'done' | 'over'
  readonly fingerprint: string | null
  readonly answer: string | null
  readonly held: string
  readonly left: string
}

async function told(result: Promise<PostgresResult>): Promise<PostgresResult> {
  try {
    return await result
  } catch (error) {
    throw explained(error)
  }
}
