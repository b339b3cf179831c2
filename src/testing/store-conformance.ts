import { type Case, casesOf } from './conformance.js'
import { logStatements } from './store-log-cases.js'
import { readStatements } from './store-read-cases.js'
import { readerStatements } from './store-reader-cases.js'
import { watchStatements } from './store-watch-cases.js'
import { type StoreHarness, StoreWorld } from './store-world.js'
import { writerStatements } from './store-writer-cases.js'

/**
 * What the port `EventStore` means, as cases to run against a store: places, tags and keys, consistent views,
 * retention, hints, and what readers of a hub on it are handed when it is trimmed, wiped, restored or away.
 *
 * @param make - makes a new harness for each case.
 * @example
 * ```ts
 * for (const each of storeConformance(make)) {
 *   test(each.name, async ({ skip }) => {
 *     await each.run()
 *     skip(each.skipped !== undefined, each.skipped)
 *   })
 * }
 * ```
 */
export function storeConformance(make: () => StoreHarness | Promise<StoreHarness>): Case[] {
  const statements = [...logStatements, ...writerStatements, ...readStatements, ...watchStatements, ...readerStatements]
  return casesOf(statements, make, StoreWorld.begin, (need, world) => world.lacks(need))
}
