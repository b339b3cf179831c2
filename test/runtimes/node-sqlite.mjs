// What a store must do, on a store over `node:sqlite`, which Node has from 22.5 on. Ends with one line of JSON.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sqliteStore } from 'steady-sse/sqlite'
import { storeConformance } from 'steady-sse/testing'

function make() {
  const folder = mkdtempSync(join(tmpdir(), 'steady-sse-node-sqlite-'))
  const open = []
  return {
    open() {
      const db = new DatabaseSync(join(folder, 'events.db'))
      const store = sqliteStore({ db, maxEvents: 64 })
      open.push({ db, store })
      return store
    },
    maxEvents: 64,
    close() {
      for (const { db, store } of open) {
        store.close?.()
        db.close()
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const failed = []
let passed = 0
for (const each of storeConformance(make)) {
  if (each.skipped) continue
  try {
    await each.run()
    passed++
  } catch (error) {
    failed.push(`${each.name}: ${error.message}`)
  }
}
console.log(JSON.stringify({ passed, failed }))
