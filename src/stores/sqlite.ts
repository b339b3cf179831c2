import { type Clock, systemClock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import { bound, duration, oneOf, show } from '../protocol/options.js'
import type { Receipts } from '../protocol/receipts.js'
import type {
  AppendEvent,
  Appended,
  AppendOptions,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoreHost,
  StreamView,
} from '../protocol/store.js'
import { isBusy, isWithoutTables, SqliteConnection, type SqliteDatabase, toText } from './sqlite-connection.js'
import { SqliteLog } from './sqlite-log.js'
import { SqliteReceipts } from './sqlite-receipts.js'
import { type SqliteSchemaOptions, settle, sqlitePrefix } from './sqlite-schema.js'
import { SqliteWatch } from './sqlite-watch.js'
import { SqliteWriter } from './sqlite-writer.js'

export type { SqliteDatabase, SqliteStatement } from './sqlite-connection.js'
export { type SqliteSchemaOptions, sqliteSchema } from './sqlite-schema.js'

/** The database of a store, and its bounds. */
export interface SqliteStoreOptions<Database extends SqliteDatabase = SqliteDatabase> extends SqliteSchemaOptions {
  /**
   * An open database of `better-sqlite3`, `libsql` or `node:sqlite`: a connection of the store's own, to a file on a
   * disk of this machine. The store sets its `busy_timeout`, `journal_mode` and `synchronous`, and leaves it to you to close it.
   */
  db: Database
  /**
   * What a power loss may take. `'full'`: nothing that was confirmed. `'normal'` is faster, and may take the last
   * events although they were confirmed; readers that had them are told by a gap. A process that is killed loses
   * nothing either way. Default: `'full'`.
   */
  synchronous?: 'full' | 'normal' | undefined
  /** How many events are retained per stream: so many at least, and up to an eighth (at most 64) more. Default: 10,000. */
  maxEvents?: number | undefined
  /** The most data retained per stream, in bytes of UTF-8. Default: 64 MiB. */
  maxBytes?: number | undefined
  /** How long an event is retained, in milliseconds. Default: 3,600,000 (an hour). */
  maxAgeMs?: number | undefined
  /** How long the record of a stream is kept that holds nothing and that nobody writes or reads, in milliseconds. Later its cursors are answered with a gap `epoch`. Default: 604,800,000 (7 days). */
  idleTtlMs?: number | undefined
  /** How long to try again while another connection writes, in milliseconds. Default: 10,000. */
  lockTimeoutMs?: number | undefined
  /** How long a receipt is kept after its message was handled, in milliseconds. Default: 86,400,000 (24 h). */
  receiptTtlMs?: number | undefined
  /** The most receipts. When full, the oldest that is done goes; those being handled stay. Default: 100,000. */
  maxReceipts?: number | undefined
  /** Default: that of the hub, or the system's. */
  clock?: Clock | undefined
}

/** A store in a file, and receipts in the same file. */
export interface SqliteStore<Database extends SqliteDatabase = SqliteDatabase> extends EventStore {
  /** For `receive`: what a handler's `commit` writes by the database that it is given happens with its receipt, or not at all. It has to end within its call. */
  readonly receipts: Receipts<Database>
  /** Creates the tables, where they are missing. It is done at first use, too. */
  migrate(): Promise<void>
}

/**
 * Keeps streams in a SQLite file: durable, for all processes of one machine. What is confirmed survives the end of
 * the process, and, unless `synchronous` is `'normal'`, of the machine. Events of other processes are seen within 25 ms.
 *
 * @throws TypeError when an option is not what it should be. `append` and `open` are rejected with SseError `SEALED` and
 * `OVERLOADED`; errors of the database are those of its driver, which a hub gives as `STORE_UNAVAILABLE`.
 * @example
 * ```ts
 * const store = sqliteStore({ db: new Database('events.db') })
 * const hub = createHub({ store })
 * createServer(receive(save, { receipts: store.receipts }))
 * ```
 */
export function sqliteStore<Database extends SqliteDatabase>(
  options: SqliteStoreOptions<Database>,
): SqliteStore<Database> {
  if (typeof options?.db?.prepare !== 'function' || typeof options.db.exec !== 'function') {
    throw new TypeError(
      `Expected \`db\` to be an open database of better-sqlite3, libsql or node:sqlite, got ${show(options?.db)}`,
    )
  }
  return new FileStore(options)
}

class FileStore<Database extends SqliteDatabase> implements SqliteStore<Database> {
  readonly shared = true
  /** A commit of another process is noticed by itself; this is for those who write to the tables in other ways. */
  readonly pollMs = 1_000
  readonly receipts: Receipts<Database>
  readonly #connection: SqliteConnection
  readonly #synchronous: 'full' | 'normal'
  readonly #prefix: string
  readonly #log: SqliteLog
  readonly #watch: SqliteWatch
  readonly #writer: SqliteWriter
  readonly #lockTimeoutMs: number
  readonly #sweepMs: number
  readonly #hosts = new Set<StoreHost>()
  #clock: Clock
  #maxStreams = 10_000
  #sealedTtlMs = 86_400_000
  #isReady = false
  #isSweeping = false
  #cancelSweep: (() => void) | undefined

  constructor(options: SqliteStoreOptions<Database>) {
    const maxAgeMs = bound('maxAgeMs', options.maxAgeMs, 3_600_000)
    const limits = {
      maxEvents: bound('maxEvents', options.maxEvents, 10_000),
      maxBytes: bound('maxBytes', options.maxBytes, 64 * 1024 * 1024),
      maxAgeMs,
      idleTtlMs: Math.max(bound('idleTtlMs', options.idleTtlMs, 604_800_000), maxAgeMs),
    }
    this.#synchronous = oneOf('synchronous', options.synchronous, ['full', 'normal'], 'full')
    this.#prefix = sqlitePrefix(options.prefix)
    this.#lockTimeoutMs = duration('lockTimeoutMs', options.lockTimeoutMs, 10_000)
    this.#clock = options.clock ?? systemClock
    this.#sweepMs = Math.min(Math.max(maxAgeMs / 4, 100), 600_000)
    const clock = () => this.#clock
    this.#connection = new SqliteConnection(options.db)
    this.#log = new SqliteLog(this.#connection, this.#prefix, limits)
    this.#watch = new SqliteWatch(this.#connection, this.#log, clock)
    const transact = (changes: () => void) => this.#transact(changes)
    this.#writer = new SqliteWriter({ clock, lockTimeoutMs: this.#lockTimeoutMs, transact })
    this.receipts = new SqliteReceipts({
      db: options.db,
      connection: this.#connection,
      prefix: this.#prefix,
      ttlMs: duration('receiptTtlMs', options.receiptTtlMs, 86_400_000),
      maxItems: bound('maxReceipts', options.maxReceipts, 100_000),
      now: () => this.#now(),
      change: (change, isAlone = false) => this.#writer.add(change, { isAlone }),
    })
  }

  attach(host: StoreHost): () => void {
    this.#hosts.add(host)
    this.#clock = host.clock
    this.#maxStreams = host.maxStreams
    this.#sealedTtlMs = host.sealedTtlMs
    this.#sweepLater()
    return () => {
      this.#hosts.delete(host)
      if (this.#hosts.size === 0) this.close()
    }
  }

  async migrate(): Promise<void> {
    await this.#look(() => {})
  }

  append(stream: string, events: readonly AppendEvent[], options: AppendOptions = {}): Promise<readonly Appended[]> {
    if (options.transaction !== undefined) {
      return Promise.reject(
        new TypeError(
          'Expected no `transaction`: the store has a connection of its own. Use `commit` of `receive`, or publish after your commit.',
        ),
      )
    }
    const bytes = events.reduce((sum, { data }) => sum + data.length, 0)
    const append = () => this.#log.append(toText(stream), events, this.#now(), this.#makeRoom)
    return this.#writer.add(append, { bytes, signal: options.signal })
  }

  open(stream: string): StreamView | Promise<StreamView> {
    const name = toText(stream)
    const find = () => {
      const found = this.#log.find(name)
      return found && this.#log.view(found, this.#now())
    }
    const create = () => this.#log.view(this.#log.change(name, this.#now(), this.#makeRoom), this.#now())
    const view = this.#look(find)
    if (view instanceof Promise) return view.then((found) => found ?? this.#writer.add(create))
    return view ?? this.#writer.add(create)
  }

  read(stream: string, offset: number, options: ReadOptions): Page | null | Promise<Page | null> {
    return this.#look(() => this.#log.page(toText(stream), offset, options, this.#now()))
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    return this.#look(() => this.#watch.add(toText(stream), hint))
  }

  seal(stream: string): Promise<StreamView> {
    return this.#writer.add(() => {
      const now = this.#now()
      const found = this.#log.change(toText(stream), now, this.#makeRoom)
      found.sealedUntil ??= now + this.#sealedTtlMs
      return this.#log.view(found, now)
    })
  }

  close(): void {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    this.#watch.stop()
  }

  #now(): number {
    return Math.floor(this.#clock.now())
  }

  /** Reads at once; while the file is locked, again and again until the time is up. */
  #look<T>(look: () => T): T | Promise<T> {
    try {
      return this.#onTables(() => this.#connection.read(look))
    } catch (error) {
      if (!isBusy(error)) throw error
      return this.#lookAgain(look)
    }
  }

  async #lookAgain<T>(look: () => T): Promise<T> {
    const until = this.#clock.now() + this.#lockTimeoutMs
    for (;;) {
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, 5 + Math.random() * 10))
      try {
        return this.#onTables(() => this.#connection.read(look))
      } catch (error) {
        if (!isBusy(error) || this.#clock.now() >= until) throw error
      }
    }
  }

  #transact(changes: () => void): void {
    const moved = this.#onTables(() => {
      try {
        return this.#connection.write(() => {
          changes()
          return this.#log.finish(this.#now())
        })
      } finally {
        this.#log.end()
      }
    })
    SqliteWatch.tell(this.#connection.db, moved)
  }

  /** Creates the tables before their first use, and again when somebody took them away. */
  #onTables<T>(run: () => T): T {
    if (this.#isReady) {
      try {
        return run()
      } catch (error) {
        if (!isWithoutTables(error)) throw error
        this.#isReady = false
      }
    }
    settle(this.#connection, this.#prefix, this.#synchronous)
    this.#isReady = true
    return run()
  }

  readonly #makeRoom = (): void => {
    if (this.#log.count() < this.#maxStreams || this.#log.giveUp((name) => !this.#watch.has(name))) return
    throw new SseError(
      'OVERLOADED',
      `All \`maxStreams\` (${this.#maxStreams}) streams have readers; there is no room for one more.`,
    )
  }

  #sweepLater(): void {
    if (this.#cancelSweep || this.#hosts.size === 0) return
    const ms = Math.max(100, Math.min(this.#sweepMs, this.#sealedTtlMs / 4))
    const sweep = () => {
      this.#cancelSweep = undefined
      this.#sweepLater()
      if (!this.#isSweeping) void this.#sweep()
    }
    this.#cancelSweep = this.#clock.setTimeout(sweep, ms, false)
  }

  /** Looks from time to time for what nobody writes to any more; in steps, for others write, too. */
  async #sweep(): Promise<void> {
    this.#isSweeping = true
    const isFree = (name: string) => !this.#watch.has(name)
    try {
      let after: number | undefined = 0
      while (after !== undefined && this.#hosts.size > 0) {
        const from: number = after
        after = await this.#writer.add(() => this.#log.sweep(from, this.#now(), isFree), { isAlone: true })
      }
      await this.#writer.add(() => this.#log.use(this.#watch.streams, this.#now()))
    } catch {
      // Busy for too long, or closed: the next sweep does it.
    }
    this.#isSweeping = false
  }
}
