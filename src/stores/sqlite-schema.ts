import { show } from '../protocol/options.js'
import type { SqliteConnection } from './sqlite-connection.js'

/** How the tables are called. */
export interface SqliteSchemaOptions {
  /** What the names of tables begin with. Default: `'steady_'`. */
  prefix?: string | undefined
}

/** @throws TypeError for what is no plain identifier. */
export function sqlitePrefix(prefix = 'steady_'): string {
  if (typeof prefix === 'string' && /^[a-z_][a-z0-9_]{0,29}$/.test(prefix)) return prefix
  throw new TypeError(
    `Expected \`prefix\` to be a-z, 0-9 and _, not beginning with a digit, of at most 30 characters, got ${show(prefix)}`,
  )
}

/**
 * The SQL that `migrate()` runs, for those who use a migration tool of their own. It can be run again at any time.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * writeFileSync('migrations/012-steady-sse.sql', sqliteSchema())
 * ```
 */
export function sqliteSchema(options: SqliteSchemaOptions = {}): string {
  const prefix = sqlitePrefix(options.prefix)
  return `-- One row for each stream. Offsets come from \`head\`, which outlives the events. A row without a name is one to forget.
CREATE TABLE IF NOT EXISTS ${prefix}streams (
  id INTEGER PRIMARY KEY,
  name TEXT UNIQUE,
  epoch TEXT NOT NULL,
  head INTEGER NOT NULL,
  head_tag INTEGER NOT NULL,
  first INTEGER NOT NULL,
  first_tag INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  head_at INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  sealed_until INTEGER,
  moved INTEGER NOT NULL
);
-- What tells other processes which streams to look at.
CREATE INDEX IF NOT EXISTS ${prefix}streams_moved ON ${prefix}streams (moved);

CREATE TABLE IF NOT EXISTS ${prefix}events (
  stream INTEGER NOT NULL,
  off INTEGER NOT NULL,
  tag INTEGER NOT NULL,
  at INTEGER NOT NULL,
  size INTEGER NOT NULL,
  key TEXT,
  event TEXT,
  data NOT NULL,
  PRIMARY KEY (stream, off)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${prefix}events_key ON ${prefix}events (stream, key) WHERE key IS NOT NULL;

CREATE TABLE IF NOT EXISTS ${prefix}receipts (
  id INTEGER PRIMARY KEY,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  token TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  done INTEGER NOT NULL,
  answer TEXT,
  UNIQUE (scope, key)
);
CREATE INDEX IF NOT EXISTS ${prefix}receipts_until ON ${prefix}receipts (done, until);
CREATE TABLE IF NOT EXISTS ${prefix}counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO ${prefix}counts SELECT 'receipts', count(*) FROM ${prefix}receipts;
`
}

/** What the schema creates. */
const OBJECTS = ['streams', 'streams_moved', 'events', 'events_key', 'receipts', 'receipts_until', 'counts']

/** How long a statement may wait for another connection. It blocks the event loop meanwhile; we try again later instead. */
const BUSY_TIMEOUT_MS = 5

/** Makes a connection one that the store can work on, and creates the tables where they are missing. */
export function settle(connection: SqliteConnection, prefix: string, synchronous: 'full' | 'normal'): void {
  const { db } = connection
  if (connection.inTransaction) throw new Error('The tables cannot be looked at within a transaction of yours.')
  db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode = WAL').all()[0] as { journal_mode: unknown }
  // `memory`: a database in memory has but one connection.
  if (mode !== 'wal' && mode !== 'memory') {
    throw new TypeError(
      `Expected \`db\` to be a database that can use a write-ahead log, got one with journal_mode ${show(mode)}. Keep the file on a disk of this machine, and open it for writing.`,
    )
  }
  db.exec(`PRAGMA synchronous = ${synchronous === 'full' ? 'FULL' : 'NORMAL'}`)
  // To look first spares those who only read from waiting for those who write.
  const names = OBJECTS.map((name) => `'${prefix}${name}'`).join()
  const present = db.prepare(`SELECT name FROM sqlite_master WHERE name IN (${names})`).all()
  if (present.length < OBJECTS.length) connection.write(() => db.exec(sqliteSchema({ prefix })))
}
