import { randomEpoch } from '../protocol/cursor.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import { check, type Statement } from './conformance.js'
import { type Timed, Waiting } from './waiting.js'

/**
 * What `receiptsConformance` needs of receipts under test: empty ones, made anew for every case. What is left out is
 * what they cannot do or the test cannot bring about; the cases that need it are skipped.
 */
export interface ReceiptsHarness<Transaction = unknown> extends Timed {
  /**
   * Opens the receipts. Called several times: where `shared` is set, each answer stands for the receipts as another
   * process has them; else all are the same.
   */
  open(): Receipts<Transaction> | Promise<Receipts<Transaction>>
  /** Whether several processes may share the receipts. Default: no. */
  readonly shared?: boolean | undefined
  /** How long the receipts were made to keep what is done, in milliseconds: at least a second, unless time is virtual. */
  readonly ttlMs?: number | undefined
  /** The most receipts that they were made to hold: from 160 to some hundred. */
  readonly maxItems?: number | undefined
  /** Writes `text` where `effects` finds it, in the transaction that `commit` gives to its effect. */
  effect?(transaction: Transaction, text: string): void | Promise<void>
  /** What effects have written, in order, as it is seen outside of all transactions. */
  effects?(): readonly string[] | Promise<readonly string[]>
  /** Whether an effect has to end within its call, for the transaction waits for nothing. Default: no. */
  readonly synchronous?: boolean | undefined
  /** Breaks the connection that a transaction under way is on, as when its process is killed. */
  breakOff?(transaction: Transaction): void | Promise<void>
  /** Cuts the connections between the receipts and their server; the returned function lets them through again. */
  disconnect?(): Promise<() => void | Promise<void>>
  /** Closes everything that was opened, and frees what the harness holds. */
  close(): void | Promise<void>
}

export type ReceiptsStatement = Statement<ReceiptsHarness, ReceiptsWorld>

/** Longer than any case takes. */
export const LONG_MS = 600_000

/** A harness under way: scopes and keys of new names, and what the cases do with them. */
export class ReceiptsWorld extends Waiting implements AsyncDisposable {
  readonly harness: ReceiptsHarness
  readonly receipts: Receipts
  readonly scope = `conformance-${randomEpoch()}`

  constructor(harness: ReceiptsHarness, receipts: Receipts) {
    super(harness)
    this.harness = harness
    this.receipts = receipts
  }

  static async begin(harness: ReceiptsHarness): Promise<ReceiptsWorld> {
    return new ReceiptsWorld(harness, await harness.open())
  }

  /** Why the harness, or the receipts, are not up to what a case needs. */
  lacks(need: string): string | undefined {
    const { harness, receipts } = this
    if (need === 'commit') return receipts.commit ? undefined : 'the receipts have no transactions'
    if (need === 'shared') return harness.shared ? undefined : 'the receipts are not shared by several processes'
    if (need === 'asynchronous') return harness.synchronous ? 'an effect ends within its call' : undefined
    return harness[need as keyof ReceiptsHarness] === undefined ? `the harness has no \`${need}\`` : undefined
  }

  /** The receipts as several processes have them; where they are not shared, the same ones several times. */
  several(count: number): Promise<Receipts[]> {
    return Promise.all(
      Array.from({ length: count }, (_, index) =>
        this.harness.shared && index > 0 ? this.harness.open() : Promise.resolve(this.receipts),
      ),
    )
  }

  async claim(key: string, { print = 'print', leaseMs = LONG_MS, by = this.receipts, scope = this.scope } = {}) {
    return by.claim(scope, key, print, leaseMs)
  }

  /** Claims a key that must be free. */
  async take(key: string, options: Parameters<ReceiptsWorld['claim']>[1] = {}): Promise<Lease> {
    return leaseOf(await this.claim(key, options), key)
  }

  /** Claims a key as soon as it is free. */
  async takeOver(key: string, options: Parameters<ReceiptsWorld['claim']>[1] = {}): Promise<Lease> {
    let claim = await this.claim(key, options)
    for (let round = 0; claim.state !== 'claimed'; round++) {
      check(round < 2_000, `Expected the key ${JSON.stringify(key)} to become free, and it is still ${claim.state}`)
      await this.pass(10)
      claim = await this.claim(key, options)
    }
    return claim.lease
  }

  /** Claims and completes. */
  async finish(key: string, answer: string | null = '1', options: Parameters<ReceiptsWorld['claim']>[1] = {}) {
    const { by = this.receipts } = options
    const lease = await this.take(key, options)
    check(await by.complete(lease, answer), `Expected complete of the lease of ${JSON.stringify(key)} to be true`)
    return lease
  }

  /** Runs `commit` with an effect that writes `texts`. */
  async commit(lease: Lease, answer: string | null, texts: readonly string[], by = this.receipts): Promise<boolean> {
    return this.commitBy(by, lease, answer, (transaction) => this.write(transaction, texts))
  }

  async commitBy(
    by: Receipts,
    lease: Lease,
    answer: string | null,
    effect: (transaction: unknown) => void | Promise<void>,
  ): Promise<boolean> {
    check(by.commit !== undefined, 'Expected every process to have receipts with `commit`')
    return by.commit(lease, answer, effect)
  }

  /** Synchronous as long as the effect of the harness is. */
  write(transaction: unknown, texts: readonly string[]): void | Promise<void> {
    const waits: Promise<void>[] = []
    for (const text of texts) {
      const wait = this.harness.effect?.(transaction, text)
      if (wait !== undefined) waits.push(wait)
    }
    return waits.length > 0 ? Promise.all(waits).then(() => {}) : undefined
  }

  async effects(): Promise<readonly string[]> {
    return (await this.harness.effects?.()) ?? []
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export function leaseOf(claim: Claim, key: string): Lease {
  check(claim.state === 'claimed', `Expected the key ${JSON.stringify(key)} to be free, it is ${claim.state}`)
  return claim.lease
}

/** What was thrown, whether at once or later; `undefined` when nothing was. */
export async function thrownBy(run: () => unknown): Promise<unknown> {
  try {
    await run()
  } catch (error) {
    return error
  }
  return undefined
}
