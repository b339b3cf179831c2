/** A prepared statement, by the methods that we call. */
export interface SqliteStatement {
  /** Runs it, and tells how many rows it changed. */
  run(...values: unknown[]): { readonly changes: number | bigint }
  /** Runs it, and returns the rows as objects. */
  all(...values: unknown[]): unknown[]
}

/** What we bind to a statement. */
export type SqliteValue = string | number | null | Uint8Array

/** An open database of a synchronous driver: `better-sqlite3`, `libsql`, or `node:sqlite`. */
export interface SqliteDatabase {
  /** Compiles one statement. */
  prepare(sql: string): SqliteStatement
  /** Runs statements that return nothing. */
  exec(sql: string): unknown
  /** As better-sqlite3 and libsql call it. */
  readonly inTransaction?: boolean
  /** As node:sqlite calls it. */
  readonly isTransaction?: boolean
  /** As better-sqlite3 and libsql call it. */
  readonly open?: unknown
}

/** One connection: its statements, prepared once, and its transactions. */
export class SqliteConnection {
  readonly db: SqliteDatabase
  readonly #prepared = new Map<string, SqliteStatement>()

  constructor(db: SqliteDatabase) {
    this.db = db
  }

  sql(text: string): SqliteStatement {
    this.#assertOpen()
    let statement = this.#prepared.get(text)
    if (!statement) {
      statement = this.db.prepare(text)
      this.#prepared.set(text, statement)
    }
    return statement
  }

  #exec(text: string): void {
    this.#assertOpen()
    this.db.exec(text)
  }

  /** In libsql, statements outlive their connection, and go on writing. */
  #assertOpen(): void {
    if (this.db.open === false) throw new Error('The database connection is not open')
  }

  /** The first row. Always to the end: a statement that is left half-way holds on to its view of the file. */
  row(text: string, ...values: SqliteValue[]): unknown {
    return this.sql(text).all(...values)[0]
  }

  /** Whether the user has a transaction open on this connection. */
  get inTransaction(): boolean {
    return this.db.inTransaction ?? this.db.isTransaction ?? false
  }

  /** Runs `look` on one view of the file. */
  read<T>(look: () => T): T {
    // The user's transaction has its view already.
    return this.inTransaction ? look() : this.#within('BEGIN', look)
  }

  /** Runs `change` in a transaction of its own. */
  write<T>(change: () => T): T {
    return this.#within('BEGIN IMMEDIATE', change)
  }

  #within<T>(begin: string, run: () => T): T {
    // Not as prepared statements: in libsql, one that found the file locked stays under way, and keeps the next COMMIT from working.
    this.#exec(begin)
    try {
      const result = run()
      this.#exec('COMMIT')
      return result
    } catch (error) {
      try {
        this.#exec('ROLLBACK')
      } catch {
        // A full disk and its like have rolled back already; a closed connection has, too.
      }
      throw error
    }
  }
}

const BUSY = 5
const LOCKED = 6

/** Whether it is somebody else's turn: another connection writes, or the user has a transaction open on this one. */
export function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  if (typeof code === 'string' && /^SQLITE_(BUSY|LOCKED)/.test(code)) return true
  if (typeof errcode === 'number' && [BUSY, LOCKED].includes(errcode & 0xff)) return true
  return error.message.includes('within a transaction')
}

/** Whether our tables are gone. */
export function isWithoutTables(error: unknown): boolean {
  return error instanceof Error && error.message.includes('no such table')
}

/** A name or a key as SQLite can hold it and every driver gives it back: without NUL, and valid Unicode. */
export function toText(name: string): string {
  return /[\0\p{Surrogate}]|^"/u.test(name) ? JSON.stringify(name) : name
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Data as they are stored: drivers cut text off at NUL when they read it, so then it is stored as bytes. */
export function toData(data: string): string | Uint8Array {
  return data.includes('\0') ? encoder.encode(data) : data
}

export function fromData(stored: unknown): string {
  return typeof stored === 'string' ? stored : decoder.decode(stored as Uint8Array)
}

declare const Buffer: { byteLength(text: string): number } | undefined

export function utf8Length(text: string): number {
  return typeof Buffer === 'undefined' ? encoder.encode(text).length : Buffer.byteLength(text)
}
