import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import type { SqliteDatabase, SqliteStore, SqliteStoreOptions } from '../../src/stores/sqlite.js'
import { sqliteStore } from '../../src/stores/sqlite.js'
import type { ReceiptsHarness, StoreHarness } from '../../src/testing/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

/** A database that can be closed. */
export interface OpenDatabase extends SqliteDatabase {
  close(): unknown
}

export type OpenFile = (path: string) => OpenDatabase

export const libsql: OpenFile = (path) => new Database(path)

const TABLES = ['streams', 'events', 'receipts', 'counts']

/** A file of its own in a folder of its own, and the connections to it. */
export class SqliteFile {
  readonly path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'steady-sse-sqlite-'))
  readonly #open: OpenFile
  readonly #connections: OpenDatabase[] = []
  readonly #stores: SqliteStore[] = []

  constructor(open: OpenFile = libsql) {
    this.path = join(this.#folder, 'events.db')
    this.#open = open
  }

  connect(): OpenDatabase {
    const db = this.#open(this.path)
    this.#connections.push(db)
    return db
  }

  /** A store on a connection of its own, as another process has it. */
  store(
    options: Omit<SqliteStoreOptions, 'db'> = {},
    wrap: (db: OpenDatabase) => OpenDatabase = (db) => db,
  ): SqliteStore<OpenDatabase> {
    const store = sqliteStore({ ...options, db: wrap(this.connect()) })
    this.#stores.push(store)
    return store
  }

  /** All rows of all tables. */
  wipe(): void {
    const db = this.connect()
    for (const table of TABLES) db.exec(`DELETE FROM steady_${table}`)
  }

  /** A copy of all rows; the returned function puts it back in the place of what is there then, as a restored backup does. */
  snapshot(): () => void {
    const db = this.connect()
    for (const table of TABLES) {
      db.exec(`DROP TABLE IF EXISTS copy_${table}; CREATE TABLE copy_${table} AS SELECT * FROM steady_${table}`)
    }
    return () => {
      db.exec('BEGIN IMMEDIATE')
      for (const table of TABLES) {
        db.exec(`DELETE FROM steady_${table}; INSERT INTO steady_${table} SELECT * FROM copy_${table}`)
      }
      db.exec('COMMIT')
    }
  }

  [Symbol.dispose](): void {
    for (const store of this.#stores) void store.close?.()
    for (const db of this.#connections) {
      try {
        db.close()
      } catch {
        // Closed by the test.
      }
    }
    rmSync(this.#folder, { recursive: true })
  }
}

const broken = new WeakSet<OpenDatabase>()

/** What the system does for a process that is killed within a transaction. */
function breakOff(db: OpenDatabase): void {
  db.exec('ROLLBACK')
  broken.add(db)
}

/** A driver that finds no file, or that answers the look at `data_version` with an old one. */
function faulty(db: OpenDatabase, isAway: () => boolean, dropsHints = () => false): OpenDatabase {
  const present = () => {
    if (isAway() || broken.has(whole)) throw Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR' })
  }
  const whole: OpenDatabase = {
    get inTransaction() {
      return db.inTransaction ?? db.isTransaction ?? false
    },
    prepare(sql) {
      present()
      const statement = db.prepare(sql)
      const isVersion = sql === 'PRAGMA data_version'
      return {
        run(...values) {
          present()
          return statement.run(...values)
        },
        all(...values) {
          present()
          return dropsHints() && isVersion ? [{ data_version: -1 }] : statement.all(...values)
        },
      }
    },
    exec(sql) {
      present()
      db.exec(sql)
    },
    close: () => db.close(),
  }
  return whole
}

const BOUNDS = { maxEvents: 16, maxAgeMs: 600_000 }

/** What `storeConformance` asks for: each `open` is another connection to one file. */
export function sqliteHarness(open: OpenFile = libsql): StoreHarness {
  const clock = virtualClock()
  const file = new SqliteFile(open)
  let dropsHints = false
  let isAway = false
  const wrap = (db: OpenDatabase) =>
    faulty(
      db,
      () => isAway,
      () => dropsHints,
    )
  const releases: (() => void)[] = []
  return {
    ...BOUNDS,
    open() {
      const store = file.store({ ...BOUNDS, synchronous: 'normal' }, wrap)
      const release = store.attach?.({ clock, maxStreams: 1_000, sealedTtlMs: 86_400_000 })
      if (release) releases.push(release)
      return store
    },
    wipe: () => file.wipe(),
    snapshot: async () => file.snapshot(),
    dropHints(on) {
      dropsHints = on
    },
    async disconnect() {
      isAway = true
      return () => {
        isAway = false
      }
    },
    clock,
    advance: (ms) => clock.advance(ms),
    async close() {
      for (const release of releases) release()
      // A change that waits for the file, or the end of a sweep.
      await clock.advance(1_000)
      file[Symbol.dispose]()
      if (clock.pending > 0) throw new Error(`Expected no timers to be left, got ${clock.pending}`)
    },
  }
}

/** What `receiptsConformance` asks for. */
export function sqliteReceiptsHarness(open: OpenFile = libsql): ReceiptsHarness<OpenDatabase> {
  const clock = virtualClock()
  const file = new SqliteFile(open)
  const outside = file.connect()
  outside.exec('CREATE TABLE effects (id INTEGER PRIMARY KEY, text TEXT)')
  let isAway = false
  const wrap = (db: OpenDatabase) => faulty(db, () => isAway)
  const bounds = { maxItems: 200, ttlMs: 60_000 }
  return {
    ...bounds,
    open() {
      const { maxItems: maxReceipts, ttlMs: receiptTtlMs } = bounds
      return file.store({ maxReceipts, receiptTtlMs, clock, synchronous: 'normal' }, wrap).receipts
    },
    shared: true,
    synchronous: true,
    effect: (db, text) => void db.prepare('INSERT INTO effects (text) VALUES (?)').run(text),
    effects: () =>
      outside
        .prepare('SELECT text FROM effects ORDER BY id')
        .all()
        .map((row) => (row as { text: string }).text),
    breakOff: (db) => breakOff(db),
    async disconnect() {
      isAway = true
      return () => {
        isAway = false
      }
    },
    clock,
    advance: (ms) => clock.advance(ms),
    close: () => file[Symbol.dispose](),
  }
}
