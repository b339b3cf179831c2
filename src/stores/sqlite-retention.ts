import type { SqliteConnection } from './sqlite-connection.js'
import type { SqliteStream } from './sqlite-stream.js'

/** What one stream may hold. */
export interface SqliteLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxAgeMs: number
  readonly idleTtlMs: number
}

/** The most rows that are read or deleted in one step. */
export const STEP = 256

interface Row {
  readonly off: number
  readonly tag: number
  readonly at: number
  readonly size: number
}

/** What of a stream counts as retained, and what goes. */
export class SqliteRetention {
  readonly #connection: SqliteConnection
  readonly #limits: SqliteLimits
  readonly #events: string

  constructor(connection: SqliteConnection, prefix: string, limits: SqliteLimits) {
    this.#connection = connection
    this.#limits = limits
    this.#events = `${prefix}events`
  }

  /** The oldest event that is not too old, and the tag before it; older ones may still be in the file. */
  firstOf({ id, head, headTag, first, firstTag, firstAt, headAt }: SqliteStream, now: number) {
    const oldest = now - this.#limits.maxAgeMs
    if (first > head || firstAt > oldest) return { first, firstTag }
    if (headAt <= oldest) return { first: head + 1, firstTag: headTag }
    // Times never fall along the offsets, so halving finds the border.
    let [old, young] = [first, head]
    while (young - old > 1) {
      const middle = Math.floor((old + young) / 2)
      if (this.at(id, middle).at <= oldest) old = middle
      else young = middle
    }
    return { first: young, firstTag: this.at(id, old).tag }
  }

  /** An event in the file; `undefined` where somebody else has deleted it. */
  find(id: number, offset: number): { tag: number; at: number } | undefined {
    const row = this.#connection.row(`SELECT tag, at FROM ${this.#events} WHERE stream = ? AND off = ?`, id, offset)
    if (row === undefined) return undefined
    const { tag, at } = row as Row
    return { tag: Number(tag), at: Number(at) }
  }

  /** The same for those who need no more than its age: what was deleted counts as old. */
  at(id: number, offset: number): { tag: number; at: number } {
    return this.find(id, offset) ?? { tag: 0, at: 0 }
  }

  /** Deletes the oldest events, some at a time, once at least `from` are too many. Returns how many; `stream` says so from then on. */
  trim(stream: SqliteStream, now: number, from: number): number {
    const { maxEvents, maxBytes, maxAgeMs } = this.#limits
    const { first, head } = stream
    // Of a stream that was given up nothing is retained.
    const oldest = stream.name === '' ? Number.POSITIVE_INFINITY : now - maxAgeMs
    const isFull = head - first + 1 - maxEvents >= Math.max(1, Math.min(from, maxEvents / 8))
    if (first > head || (!isFull && stream.bytes <= maxBytes && stream.firstAt > oldest)) return 0
    const most = Math.max(STEP, 2 * stream.added)
    const sql = `SELECT off, tag, at, size FROM ${this.#events} WHERE stream = ? AND off >= ? ORDER BY off LIMIT ?`
    const rows = this.#connection.sql(sql).all(stream.id, first, most + 1) as Row[]
    let count = 0
    for (const { off, tag, at, size } of rows.slice(0, most)) {
      const isTooMany = head - stream.first >= maxEvents
      if (!isTooMany && stream.bytes <= maxBytes && Number(at) > oldest) break
      Object.assign(stream, { first: Number(off) + 1, firstTag: Number(tag), bytes: stream.bytes - Number(size) })
      count++
    }
    stream.firstAt = Number(rows[count]?.at ?? now)
    this.#connection.sql(`DELETE FROM ${this.#events} WHERE stream = ? AND off < ?`).run(stream.id, stream.first)
    return count
  }
}
