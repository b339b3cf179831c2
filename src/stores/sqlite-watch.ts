import type { Clock } from '../protocol/clock.js'
import type { Hint } from '../protocol/store.js'
import type { SqliteConnection, SqliteDatabase } from './sqlite-connection.js'
import type { Moved, SqliteLog } from './sqlite-log.js'

/** How often it is looked whether another process has written, in milliseconds. */
const LOOK_MS = 15

/** All who watch through one connection: what is committed on it does not change its `data_version`. */
const watching = new WeakMap<SqliteDatabase, Set<SqliteWatch>>()

/** Tells watchers that a stream moved: at once when it was moved on this connection, else by looking at `data_version`. */
export class SqliteWatch {
  readonly #connection: SqliteConnection
  readonly #log: SqliteLog
  readonly #clock: () => Clock
  readonly #hints = new Map<string, Set<Hint>>()
  #version: unknown
  #moved = 0
  #cancel: (() => void) | undefined

  constructor(connection: SqliteConnection, log: SqliteLog, clock: () => Clock) {
    this.#connection = connection
    this.#log = log
    this.#clock = clock
  }

  has(stream: string): boolean {
    return this.#hints.has(stream)
  }

  get streams(): Iterable<string> {
    return this.#hints.keys()
  }

  /** From now on `hint` is called. */
  add(stream: string, hint: Hint): () => void {
    if (!this.#cancel) this.#start()
    const hints = this.#hints.get(stream) ?? new Set()
    this.#hints.set(stream, hints)
    // One function may watch twice.
    const own: Hint = (to) => hint(to)
    hints.add(own)
    return () => {
      hints.delete(own)
      if (hints.size === 0 && this.#hints.get(stream) === hints) this.#hints.delete(stream)
      if (this.#hints.size === 0) this.stop()
    }
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    watching.get(this.#connection.db)?.delete(this)
  }

  /** Tells all who watch on this connection what was just committed on it. */
  static tell(db: SqliteDatabase, moved: readonly Moved[]): void {
    for (const watch of watching.get(db) ?? []) for (const each of moved) watch.#hint(each)
  }

  #start(): void {
    this.#version = this.#dataVersion()
    this.#moved = this.#log.newestMove()
    const present = watching.get(this.#connection.db) ?? new Set()
    watching.set(this.#connection.db, present.add(this))
    this.#lookLater()
  }

  #lookLater(): void {
    this.#cancel = this.#clock().setTimeout(
      () => {
        this.#lookLater()
        try {
          this.#look()
        } catch {
          // Busy, or closed: what was not seen now is seen the next time.
        }
      },
      LOOK_MS,
      false,
    )
  }

  #look(): void {
    const version = this.#dataVersion()
    if (version === this.#version) return
    const newest = this.#log.newestMove()
    if (newest < this.#moved) {
      // Wiped, or an older copy: everything may be another than it was.
      for (const hints of this.#hints.values()) for (const hint of hints) hint(undefined)
    } else for (const moved of this.#log.movedSince(this.#moved)) this.#hint(moved)
    this.#moved = newest
    this.#version = version
  }

  #hint({ stream, epoch, head, sealed }: Moved): void {
    for (const hint of this.#hints.get(stream) ?? []) hint(sealed ? undefined : { epoch, head })
  }

  #dataVersion(): unknown {
    return (this.#connection.row('PRAGMA data_version') as { data_version: unknown }).data_version
  }
}
