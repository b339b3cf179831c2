import { randomEpoch, randomTag } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended, Page, ReadOptions, StoredEvent, StreamView } from '../protocol/store.js'
import { fromData, type SqliteConnection, toData, toText, utf8Length } from './sqlite-connection.js'
import { type SqliteLimits, SqliteRetention, STEP } from './sqlite-retention.js'
import { type SqliteStream, streamOf } from './sqlite-stream.js'

/** A stream that was changed. */
export interface Moved {
  /** Its name, as it is stored. */
  readonly stream: string
  readonly epoch: string
  readonly head: number
  readonly sealed: boolean
}

/** Events are trimmed some at a time: at least so many, or one in eight of the bound, if that is less. */
const TRIM_FROM = 64

/** The streams of a file. What changes them runs in a transaction, which `finish` completes. */
export class SqliteLog {
  readonly #connection: SqliteConnection
  readonly #retention: SqliteRetention
  readonly #idleTtlMs: number
  readonly #streams: string
  readonly #events: string
  /** The streams that the transaction under way has changed. */
  readonly #changed = new Map<string, SqliteStream>()

  constructor(connection: SqliteConnection, prefix: string, limits: SqliteLimits) {
    this.#connection = connection
    this.#retention = new SqliteRetention(connection, prefix, limits)
    this.#idleTtlMs = limits.idleTtlMs
    this.#streams = `${prefix}streams`
    this.#events = `${prefix}events`
  }

  /** The record of a stream; `undefined` when there is none. */
  find(name: string): SqliteStream | undefined {
    const row = this.#connection.row(`SELECT * FROM ${this.#streams} WHERE name = ?`, name)
    return row === undefined ? undefined : streamOf(row)
  }

  view(stream: SqliteStream, now: number): StreamView {
    const { epoch, head, headTag, sealedUntil } = stream
    return { epoch, ...this.#retention.firstOf(stream, now), head, headTag, sealed: sealedUntil !== undefined }
  }

  page(name: string, offset: number, { limit, maxBytes }: ReadOptions, now: number): Page | null {
    const stream = this.find(name)
    if (!stream) return null
    const view = this.view(stream, now)
    const from = Math.max(offset + 1, view.first)
    const until = Math.min(view.head, from + limit - 1)
    const upTo = maxBytes === undefined ? until : this.#fits(stream, from, until, maxBytes)
    return {
      ...view,
      tag: this.#tagAt(stream, view, offset),
      events: upTo < from ? [] : this.#rows(stream, from, upTo),
    }
  }

  append(name: string, events: readonly AppendEvent[], now: number, makeRoom: () => void): Appended[] {
    const stream = this.change(name, now, makeRoom)
    const { epoch } = stream
    if (stream.sealedUntil !== undefined) {
      throw new SseError('SEALED', `The stream ${JSON.stringify(name)} is sealed and takes no more events.`)
    }
    const insert = this.#connection.sql(`INSERT INTO ${this.#events} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    // A clock that is set back would make later events older.
    const at = Math.max(now, stream.headAt)
    const { first } = this.#retention.firstOf(stream, now)
    return events.map(({ event, data, key }): Appended => {
      const text = key === undefined ? null : toText(key)
      const known = text === null ? undefined : this.#keyed(stream, text, first)
      if (known) return { epoch, ...known, duplicate: true, previousTag: 0 }
      const tag = randomTag()
      const previousTag = stream.headTag
      const offset = stream.head + 1
      const size = utf8Length(data) + (event === undefined ? 0 : utf8Length(event))
      insert.run(stream.id, offset, tag, at, size, text, event ?? null, toData(data))
      if (stream.first === offset) stream.firstAt = at
      Object.assign(stream, { head: offset, headTag: tag, headAt: at, bytes: stream.bytes + size })
      stream.added++
      return { epoch, offset, tag, duplicate: false, previousTag }
    })
  }

  /** The record of a stream, made if need be, to be changed in the transaction under way. */
  change(name: string, now: number, makeRoom: () => void): SqliteStream {
    let stream = this.#changed.get(name) ?? this.find(name)
    if (!stream) {
      makeRoom()
      stream = streamOf({
        id: randomTag() * 2 ** 20 + (randomTag() % 2 ** 20),
        name,
        epoch: randomEpoch(),
        at: now,
      })
      this.#connection
        .sql(`INSERT INTO ${this.#streams} VALUES (?, ?, ?, 0, 0, 1, 0, ?, ?, 0, ?, NULL, 0)`)
        .run(stream.id, name, stream.epoch, now, now, now)
    }
    stream.usedAt = now
    this.#changed.set(name, stream)
    return stream
  }

  /** Writes down what the transaction has changed, and returns it. */
  finish(now: number): Moved[] {
    if (this.#changed.size === 0) return []
    const moved = Math.max(this.newestMove() + 1, now)
    const update = this.#connection.sql(
      `UPDATE ${this.#streams} SET head = ?, head_tag = ?, head_at = ?, first = ?, first_tag = ?, first_at = ?, bytes = ?, used_at = ?, sealed_until = ?, moved = ? WHERE id = ?`,
    )
    for (const stream of this.#changed.values()) {
      this.#retention.trim(stream, now, TRIM_FROM)
      const { head, headTag, headAt, first, firstTag, firstAt, bytes, usedAt, sealedUntil, id } = stream
      update.run(head, headTag, headAt, first, firstTag, firstAt, bytes, usedAt, sealedUntil ?? null, moved, id)
    }
    return [...this.#changed].map(([stream, { epoch, head, sealedUntil }]) => {
      return { stream, epoch, head, sealed: sealedUntil !== undefined }
    })
  }

  /** Forgets what was going to be changed: the transaction is over. */
  end(): void {
    this.#changed.clear()
  }

  newestMove(): number {
    const row = this.#connection.row(`SELECT max(moved) AS moved FROM ${this.#streams}`) as { moved: number | null }
    return Number(row.moved ?? 0)
  }

  movedSince(moved: number): Moved[] {
    const rows = this.#connection.sql(`SELECT * FROM ${this.#streams} WHERE moved > ?`).all(moved)
    return rows.map(streamOf).map(({ name, epoch, head, sealedUntil }) => {
      return { stream: name, epoch, head, sealed: sealedUntil !== undefined }
    })
  }

  count(): number {
    const row = this.#connection.row(`SELECT count(name) AS count FROM ${this.#streams}`) as { count: number }
    return Number(row.count)
  }

  /**
   * Gives up the stream that was longest unused, of those for which `isFree` holds; one that holds nothing goes first.
   * Returns whether there was one.
   */
  giveUp(isFree: (name: string) => boolean): boolean {
    for (const held of ['first > head', 'first <= head']) {
      for (let offset = 0; ; offset += STEP) {
        const rows = this.#connection
          .sql(
            `SELECT * FROM ${this.#streams} WHERE name IS NOT NULL AND ${held} ORDER BY moved LIMIT ${STEP} OFFSET ?`,
          )
          .all(offset)
        const found = rows.map(streamOf).find(({ name }) => isFree(name) && !this.#changed.has(name))
        if (found) {
          this.#forget(found)
          return true
        }
        if (rows.length < STEP) break
      }
    }
    return false
  }

  /** One step of looking after streams that nobody writes to. Returns where to go on; `undefined` at the end. */
  sweep(after: number, now: number, isFree: (name: string) => boolean): number | undefined {
    const rows = this.#connection
      .sql(`SELECT * FROM ${this.#streams} WHERE id > ? ORDER BY id LIMIT ${STEP}`)
      .all(after)
    let deleted = 0
    for (const stream of rows.map(streamOf)) {
      deleted += this.#tend(stream, now, isFree)
      // The same one again, until there is nothing to delete.
      if (deleted >= STEP) return stream.id - 1
    }
    return rows.length < STEP ? undefined : streamOf(rows.at(-1)).id
  }

  /** Keeps streams that are read from being forgotten. */
  use(names: Iterable<string>, now: number): void {
    const update = this.#connection.sql(`UPDATE ${this.#streams} SET used_at = ? WHERE name = ? AND used_at < ?`)
    for (const name of names) update.run(now, name, now - this.#idleTtlMs / 8)
  }

  #tend(stream: SqliteStream, now: number, isFree: (name: string) => boolean): number {
    const { id, name, first, head, sealedUntil, usedAt } = stream
    if (name === '' && first > head) {
      return Number(this.#connection.sql(`DELETE FROM ${this.#streams} WHERE id = ?`).run(id).changes)
    }
    const deleted = this.#retention.trim(stream, now, 1)
    if (deleted > 0) {
      this.#connection
        .sql(`UPDATE ${this.#streams} SET first = ?, first_tag = ?, first_at = ?, bytes = ? WHERE id = ?`)
        .run(stream.first, stream.firstTag, stream.firstAt, stream.bytes, id)
    }
    const isIdle = stream.first > head && now - usedAt >= this.#idleTtlMs
    if (name !== '' && (isIdle || (sealedUntil !== undefined && sealedUntil <= now)) && isFree(name))
      this.#forget(stream)
    return deleted
  }

  /** Takes the name away: what is left of it goes step by step. */
  #forget({ id }: SqliteStream): void {
    this.#connection.sql(`UPDATE ${this.#streams} SET name = NULL WHERE id = ?`).run(id)
  }

  #tagAt(stream: SqliteStream, { first, firstTag, head, headTag }: StreamView, offset: number): number | undefined {
    if (offset === first - 1) return firstTag
    if (offset === head) return headTag
    return offset >= first && offset <= head ? this.#retention.find(stream.id, offset)?.tag : undefined
  }

  #keyed({ id }: SqliteStream, key: string, first: number): { offset: number; tag: number } | undefined {
    const sql = `SELECT off, tag FROM ${this.#events} WHERE stream = ? AND key = ? AND off >= ? ORDER BY off DESC LIMIT 1`
    const row = this.#connection.row(sql, id, key, first) as { off: number; tag: number } | undefined
    return row && { offset: Number(row.off), tag: Number(row.tag) }
  }

  /** How far one gets within `maxBytes`; at least to `from`. */
  #fits({ id, bytes }: SqliteStream, from: number, until: number, maxBytes: number): number {
    if (bytes <= maxBytes || until <= from) return until
    const sizes = this.#connection
      .sql(`SELECT size FROM ${this.#events} WHERE stream = ? AND off BETWEEN ? AND ? ORDER BY off`)
      .all(id, from, until) as { size: number }[]
    let sum = 0
    const beyond = sizes.findIndex(({ size }) => {
      sum += Number(size)
      return sum > maxBytes
    })
    return beyond < 0 ? until : from + Math.max(0, beyond - 1)
  }

  #rows({ id }: SqliteStream, from: number, until: number): StoredEvent[] {
    const rows = this.#connection
      .sql(`SELECT off, tag, event, data FROM ${this.#events} WHERE stream = ? AND off BETWEEN ? AND ? ORDER BY off`)
      .all(id, from, until) as { off: number; tag: number; event: string | null; data: unknown }[]
    return rows.map(({ off, tag, event, data }) => {
      return { offset: Number(off), tag: Number(tag), event: event ?? undefined, data: fromData(data) }
    })
  }
}
