import { type Case, casesOf } from './conformance.js'
import { claimStatements } from './receipts-claim-cases.js'
import { commitStatements } from './receipts-commit-cases.js'
import { keepingStatements } from './receipts-keeping-cases.js'
import { type ReceiptsHarness, ReceiptsWorld } from './receipts-world.js'

/**
 * What the port `Receipts` means, as cases to run against receipts of your own: claims and leases, answers, scopes,
 * bounds, several processes, and effects that happen together with their receipt or not at all.
 *
 * @param make - makes a new harness for each case.
 * @example
 * ```ts
 * for (const each of receiptsConformance(make)) {
 *   test(each.name, async ({ skip }) => {
 *     await each.run()
 *     skip(each.skipped !== undefined, each.skipped)
 *   })
 * }
 * ```
 */
export function receiptsConformance<Transaction>(
  make: () => ReceiptsHarness<Transaction> | Promise<ReceiptsHarness<Transaction>>,
): Case[] {
  const statements = [...claimStatements, ...keepingStatements, ...commitStatements]
  return casesOf<ReceiptsHarness, ReceiptsWorld>(statements, make, ReceiptsWorld.begin, (need, world) =>
    world.lacks(need),
  )
}
