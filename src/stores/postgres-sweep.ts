import type { Clock } from '../protocol/clock.js'
import type { PostgresPool } from './postgres-pool.js'
import { hashOf, type PostgresNames } from './postgres-schema.js'
import { toText } from './postgres-text.js'

/** The most streams that one look finds. */
const STREAMS_PER_LOOK = 200
/** How soon the next look comes when one has found so many. */
const MORE_MS = 1_000

export interface PostgresSweepOptions {
  readonly pool: PostgresPool
  readonly names: PostgresNames
  readonly maxAgeMs: number
  readonly idleTtlMs: number
  readonly sweepMs: number
  /** The streams that have readers here: their records are in use, however quiet they are. */
  readonly watched: () => Iterable<string>
}

/** Forgets what is too old, from time to time and chunk by chunk: each is a short transaction of its own. */
export class PostgresSweep {
  readonly #options: PostgresSweepOptions
  readonly #findSql: string
  readonly #trimSql: string
  readonly #useSql: string
  #clock: Clock | undefined
  #cancel: (() => void) | undefined
  #nextUse = 0

  constructor(options: PostgresSweepOptions) {
    this.#options = options
    const { streams, trim } = options.names
    const [age, quiet] = ["$1::float8 * interval '1 ms'", "$2::float8 * interval '1 ms'"]
    this.#findSql = `SELECT id FROM ${streams} WHERE first_at <= clock_timestamp() - ${age}
      OR sealed_until <= clock_timestamp()
      OR (first > head AND sealed_until IS NULL AND used_at <= clock_timestamp() - ${quiet}) LIMIT ${STREAMS_PER_LOOK}`
    this.#trimSql = `SELECT ${trim}($3::bigint, ${age}, ${quiet}) AS more`
    this.#useSql = `UPDATE ${streams} SET used_at = clock_timestamp()
      WHERE hash IN (SELECT ${hashOf('name')} FROM unnest($1::text[]) AS name)`
  }

  start(clock: Clock): void {
    this.#clock = clock
    this.#later()
  }

  stop(): void {
    this.#clock = undefined
    this.#cancel?.()
    this.#cancel = undefined
  }

  #later(soonest = this.#options.sweepMs): void {
    // Several processes sweep the same tables: not all of them at once.
    const ms = Math.min(this.#options.sweepMs, soonest) * (0.75 + Math.random() / 2)
    this.#cancel?.()
    this.#cancel = this.#clock?.setTimeout(() => void this.#run(), ms, false)
  }

  async #run(): Promise<void> {
    const { pool, maxAgeMs, idleTtlMs } = this.#options
    let found = 0
    try {
      await this.#use()
      const { rows } = await pool.query({ text: this.#findSql, values: [maxAgeMs, idleTtlMs] })
      for (const { id } of rows as { id: unknown }[]) await this.#trim(id)
      found = rows.length
    } catch {
      // The database is away, or somebody is in the way: what is too old stays a while longer.
    }
    if (this.#clock) this.#later(found === STREAMS_PER_LOOK ? MORE_MS : undefined)
  }

  async #trim(id: unknown): Promise<void> {
    const { pool, maxAgeMs, idleTtlMs } = this.#options
    for (let more = true; more && this.#clock; ) {
      const { rows } = await pool.query({ text: this.#trimSql, values: [maxAgeMs, idleTtlMs, id] })
      more = (rows[0] as { more: boolean } | undefined)?.more === true
    }
  }

  async #use(): Promise<void> {
    const { pool, idleTtlMs, watched } = this.#options
    const now = this.#clock?.now() ?? 0
    if (now < this.#nextUse) return
    this.#nextUse = now + idleTtlMs / 8
    const names = [...watched()].map(toText)
    if (names.length > 0) await pool.query({ text: this.#useSql, values: [names] })
  }
}
