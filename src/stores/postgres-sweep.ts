import type { Clock } from '../protocol/clock.js'
import type { PostgresConnections } from './postgres-connections.js'
import { hashOf, type PostgresNames } from './postgres-schema.js'
import { fromText, toText } from './postgres-text.js'

/** The most streams that one look finds. */
const STREAMS_PER_LOOK = 1_000
/** How soon the next look comes when one has found so many. */
const MORE_MS = 1_000
/** Of the time that a record is kept unused, the part after which those in use are marked again. */
const USES_PER_TTL = 8
const LEAST_USE_MS = 100
/** No stream is quiet for so long. */
const NEVER_MS = 1e13

export interface PostgresSweepOptions {
  readonly connections: PostgresConnections
  readonly names: PostgresNames
  readonly maxAgeMs: number
  readonly idleTtlMs: number
  readonly sweepMs: number
  /** The streams that have readers here: their records are in use, however quiet they are. */
  readonly watched: () => ReadonlyMap<string, unknown>
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
    this.#findSql = `SELECT id::text, name FROM ${streams} WHERE first_at <= clock_timestamp() - ${age}
      OR sealed_until <= clock_timestamp()
      OR (first > head AND sealed_until IS NULL AND used_at <= clock_timestamp() - ${quiet}) LIMIT ${STREAMS_PER_LOOK}`
    this.#trimSql = `SELECT ${trim}($3::bigint, ${age}, ${quiet})::int::text AS more`
    // One that is locked is being used.
    this.#useSql = `UPDATE ${streams} SET used_at = clock_timestamp() WHERE id IN (
      SELECT id FROM ${streams} WHERE hash IN (SELECT ${hashOf('name')} FROM unnest($1::text[]) AS name)
      FOR NO KEY UPDATE SKIP LOCKED)`
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
    const ms = Math.min(this.#options.sweepMs, soonest, this.#usesEveryMs) * (0.75 + Math.random() / 2)
    this.#cancel?.()
    this.#cancel = this.#clock?.setTimeout(() => void this.#run(), ms, false)
  }

  async #run(): Promise<void> {
    const { connections, maxAgeMs, idleTtlMs } = this.#options
    let found = 0
    try {
      await this.#use()
      const { rows } = await connections.query({ text: this.#findSql, values: [maxAgeMs, idleTtlMs] })
      for (const { id, name } of rows as { id: string; name: string }[]) {
        await this.#use()
        await this.#trim(id, fromText(name))
      }
      found = rows.length
    } catch {
      // The database is away, or somebody is in the way: what is too old stays a while longer.
    }
    if (this.#clock) this.#later(found === STREAMS_PER_LOOK ? MORE_MS : undefined)
  }

  async #trim(id: string, stream: string): Promise<void> {
    const { connections, maxAgeMs, idleTtlMs, watched } = this.#options
    for (let more = true; more && this.#clock; ) {
      const quietMs = watched().has(stream) ? NEVER_MS : idleTtlMs
      const { rows } = await connections.query({ text: this.#trimSql, values: [maxAgeMs, quietMs, id] })
      more = (rows[0] as { more: string } | undefined)?.more === '1'
    }
  }

  get #usesEveryMs(): number {
    return Math.max(LEAST_USE_MS, this.#options.idleTtlMs / USES_PER_TTL)
  }

  /** Marks what is watched here, for the sweeps of other processes. */
  async #use(): Promise<void> {
    const { connections, watched } = this.#options
    const now = this.#clock?.now() ?? 0
    if (now < this.#nextUse) return
    const names = [...watched().keys()].map(toText)
    for (let at = 0; at < names.length; at += STREAMS_PER_LOOK) {
      await connections.query({ text: this.#useSql, values: [names.slice(at, at + STREAMS_PER_LOOK)] })
    }
    this.#nextUse = now + this.#usesEveryMs
  }
}
