import { type MemoryReceiptsOptions, ReceiptBook } from '../protocol/receipt-book.js'
import type { Receipts } from '../protocol/receipts.js'

export type { MemoryReceiptsOptions } from '../protocol/receipt-book.js'

/**
 * Keeps receipts in the memory of this process: for one process only, and gone with it. There are no
 * transactions: a handler that returns `commit` needs the receipts of a database.
 *
 * A message that is sent again after its receipt went is handled again. So `ttlMs` must outlive the sender's
 * tries (an outbox's `maxAgeMs`, at most 24 hours), and `maxItems` must hold what arrives in that time.
 *
 * @throws TypeError when an option is not what it should be. When every receipt is of a message being handled,
 * `receive` answers 503 (`OVERLOADED`).
 * @example
 * ```ts
 * const receipts = memoryReceipts({ maxItems: 50_000 })
 * createServer(receive(save, { receipts }))
 * ```
 */
export function memoryReceipts(options: MemoryReceiptsOptions = {}): Receipts<never> {
  return new ReceiptBook(options)
}
