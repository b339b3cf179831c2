// Where the playground's stream and receipts live: in memory, or in a file that outlasts the process.
import { mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import type { EventStore, Receipts } from 'steady-sse'
import { memoryReceipts, memoryStore } from 'steady-sse/memory'
import { sqliteStore } from 'steady-sse/sqlite'

/** Small, so that a slow client can fall behind it and see a gap `expired`. */
const MAX_EVENTS = 500

/** What a hub and its receiver remember by. */
export interface Memory {
  readonly store: EventStore
  readonly receipts: Receipts
}

/** Gives out memories: the same one after a restart, or a new one. */
export interface Storage {
  /** In a few words, for people. */
  readonly where: string
  open(): Memory
  /** Lets go of what is open. With `forget`, the next memory is empty. */
  close(forget: boolean): void
}

export function inMemory(): Storage {
  let memory: Memory | undefined
  return {
    where: 'the memory of this process',
    open() {
      memory ??= { store: memoryStore({ maxEvents: MAX_EVENTS }), receipts: memoryReceipts() }
      return memory
    },
    close(forget) {
      if (forget) memory = undefined
    },
  }
}

export function inSqlite(folder = join(tmpdir(), 'steady-sse-playground')): Storage {
  const file = join(folder, 'playground.db')
  let db: InstanceType<typeof Database> | undefined
  return {
    where: file,
    open() {
      mkdirSync(folder, { recursive: true })
      db = new Database(file)
      const store = sqliteStore({ db, maxEvents: MAX_EVENTS })
      return { store, receipts: store.receipts }
    },
    close(forget) {
      db?.close()
      if (forget) for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true })
    },
  }
}
