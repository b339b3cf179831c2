import { describe, expect, test } from 'vitest'
import { receiptsConformance, storeConformance } from '../../src/testing/index.js'
import { sqliteHarness, sqliteReceiptsHarness } from './sqlite-file.js'

/** A transaction of SQLite is of one connection, and that of the store is its own. */
const NOT_OF_SQLITE = ['the harness has no `transaction`', 'an effect ends within its call']

describe('sqliteStore', () => {
  for (const each of storeConformance(() => sqliteHarness())) {
    test(each.name, async ({ skip }) => {
      await each.run()
      if (each.skipped !== undefined) expect(NOT_OF_SQLITE).toContain(each.skipped)
      skip(each.skipped !== undefined, each.skipped)
    })
  }
})

describe('the receipts of sqliteStore', () => {
  for (const each of receiptsConformance(() => sqliteReceiptsHarness())) {
    test(each.name, async ({ skip }) => {
      await each.run()
      if (each.skipped !== undefined) expect(NOT_OF_SQLITE).toContain(each.skipped)
      skip(each.skipped !== undefined, each.skipped)
    })
  }
})
