import { describe, expect, test } from 'vitest'
import { ReceiptBook } from '../../src/protocol/receipt-book.js'
import type { Lease, Receipts } from '../../src/protocol/receipts.js'
import { memoryReceipts } from '../../src/stores/memory.js'
import { type ReceiptsHarness, receiptsConformance } from '../../src/testing/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

const BOUNDS = { maxItems: 160, ttlMs: 60_000 }

function memoryHarness(): ReceiptsHarness<never> {
  const clock = virtualClock()
  const receipts = memoryReceipts({ ...BOUNDS, clock })
  return { ...BOUNDS, open: () => receipts, clock, advance: (ms) => clock.advance(ms), close() {} }
}

/** Effects are gathered, and written when they have ended. */
class Transaction {
  readonly texts: string[] = []
  isBroken = false
}

/** Receipts with transactions that several processes share. `change` breaks a rule. */
function transactionalHarness(
  change: (whole: Receipts<Transaction>, effects: string[]) => Partial<Receipts<Transaction>> = () => ({}),
): ReceiptsHarness<Transaction> {
  const clock = virtualClock()
  const book = new ReceiptBook({ maxItems: 1_000, ttlMs: 60_000, clock })
  const effects: string[] = []
  const tokens = new Map<string, string>()
  const busy = new Set<string>()
  let isAway = false
  const present = () => {
    if (isAway) throw new Error('connect ECONNREFUSED')
  }
  const commit = async (lease: Lease, answer: string | null, effect: (own: Transaction) => void | Promise<void>) => {
    while (busy.has(lease.key)) await new Promise((go) => setImmediate(go))
    busy.add(lease.key)
    try {
      if (tokens.get(lease.key) !== lease.token) return false
      const own = new Transaction()
      await effect(own)
      if (own.isBroken) throw new Error('ECONNRESET')
      effects.push(...own.texts)
      tokens.delete(lease.key)
      return book.complete(lease, answer)
    } finally {
      busy.delete(lease.key)
    }
  }
  const whole: Receipts<Transaction> = {
    claim(...given) {
      present()
      const claim = book.claim(...given)
      if (claim.state === 'claimed') tokens.set(claim.lease.key, claim.lease.token)
      return claim
    },
    complete(lease, answer) {
      const counts = book.complete(lease, answer)
      if (counts) tokens.delete(lease.key)
      return counts
    },
    release(lease) {
      book.release(lease)
      if (tokens.get(lease.key) === lease.token) tokens.delete(lease.key)
    },
    commit,
  }
  return {
    open: () => ({ ...whole, ...change(whole, effects) }),
    shared: true,
    ttlMs: 60_000,
    effect: ({ texts }, text) => void texts.push(text),
    effects: () => effects,
    breakOff(own) {
      own.isBroken = true
    },
    async disconnect() {
      isAway = true
      return () => {
        isAway = false
      }
    },
    clock,
    advance: (ms) => clock.advance(ms),
    close() {},
  }
}

function suite<T>(make: () => ReceiptsHarness<T>): void {
  for (const each of receiptsConformance(make)) {
    test(each.name, async ({ skip }) => {
      await each.run()
      skip(each.skipped !== undefined, each.skipped)
    })
  }
}

describe('memoryReceipts', () => suite(memoryHarness))
describe('receipts with transactions that several processes share', () => suite(transactionalHarness))

describe('receipts that break a rule fail the case that is meant for them', () => {
  type Change = Parameters<typeof transactionalHarness>[0]
  const controls: [breaks: string, found: string, change: Change][] = [
    [
      'a done key is claimed again',
      'a key is free, then held, then done, and its answer is given back',
      (whole) => ({
        async claim(...given) {
          const claim = await whole.claim(...given)
          return claim.state === 'done' ? { state: 'busy', heldMs: 0, leftMs: 1 } : claim
        },
      }),
    ],
    [
      'fingerprints are not looked at',
      'a key that is held or done with another fingerprint is a mismatch, and stays what it is',
      (whole) => ({ claim: (scope, key, _, leaseMs) => whole.claim(scope, key, 'same', leaseMs) }),
    ],
    [
      'fingerprints are cut',
      'a key that is held or done with another fingerprint is a mismatch, and stays what it is',
      (whole) => ({ claim: (scope, key, print, leaseMs) => whole.claim(scope, key, print.slice(0, 8), leaseMs) }),
    ],
    [
      'scope and key are joined without a border',
      'keys do not meet, nor do scopes, however they are put together',
      (whole) => ({ claim: (scope, key, ...rest) => whole.claim('', `${scope}:${key}`, ...rest) }),
    ],
    [
      'scopes pass through UTF-8',
      'scopes do not meet though they hold what is no text: NUL, and half of a surrogate pair',
      (whole) => ({
        async claim(scope, ...given) {
          const claim = await whole.claim(Buffer.from(scope).toString(), ...given)
          return claim.state === 'claimed' ? { ...claim, lease: { ...claim.lease, scope } } : claim
        },
        complete: (lease, answer) => whole.complete({ ...lease, scope: Buffer.from(lease.scope).toString() }, answer),
      }),
    ],
    [
      'a lease holds for ever',
      'a lease that is over frees the key, not before its time, and for any message',
      (whole) => ({ claim: (scope, key, print) => whole.claim(scope, key, print, 1e9) }),
    ],
    [
      'a lease holds half of its time',
      'a lease that is over frees the key, not before its time, and for any message',
      (whole) => ({ claim: (scope, key, print, leaseMs) => whole.claim(scope, key, print, leaseMs / 2) }),
    ],
    [
      'null becomes a text',
      'every answer is given back to the last character; null is not "null"',
      (whole) => ({ complete: (lease, answer) => whole.complete(lease, String(answer)) }),
    ],
    [
      'a lost lease says that it counts',
      'who comes late changes nothing: neither complete nor release count once another holds the key',
      (whole) => ({
        async complete(lease, answer) {
          await whole.complete(lease, answer)
          return true
        },
      }),
    ],
    [
      'release frees nothing',
      'a released key is free for any message; one that is done is not released',
      () => ({ release() {} }),
    ],
    [
      'to look and to claim are two steps',
      'of 24 who claim at once, one holds the key',
      (whole) => ({
        async claim(...given) {
          const claim = await whole.claim(...given)
          if (claim.state !== 'busy' || claim.heldMs > 0) return claim
          return { state: 'claimed', lease: { scope: given[0], key: given[1], token: String(Math.random()) } }
        },
      }),
    ],
    [
      'the effect happens after the commit',
      'an effect that throws leaves nothing: its error is thrown, and the key is still held by its lease',
      (whole) => ({
        async commit(lease, answer, effect) {
          const counts = await whole.complete(lease, answer)
          if (counts) await effect(new Transaction())
          return counts
        },
      }),
    ],
    [
      'the effect happens before the lease is looked at',
      'commit with a lease that went to another runs no effect and changes nothing',
      (whole, effects) => ({
        async commit(lease, answer, effect) {
          const own = new Transaction()
          await effect(own)
          effects.push(...own.texts)
          return whole.complete(lease, answer)
        },
      }),
    ],
    [
      'an effect is seen before it has ended',
      'until an effect has ended, nobody sees it, and the key is held',
      (whole, effects) => ({
        commit: (lease, answer, effect) =>
          whole.commit?.(lease, answer, (own) => {
            own.texts.push = (...texts) => effects.push(...texts)
            return effect(own)
          }) ?? false,
      }),
    ],
  ]
  test.each(controls)('%s', async (_, name, change) => {
    const found = receiptsConformance(() => transactionalHarness(change)).find((each) => each.name === name)
    await expect(found?.run()).rejects.toThrow(/^Expected/)
  })
})

test('memory skips what it lacks, and says why', async () => {
  const skipped = new Map<string, string>()
  for (const each of receiptsConformance(memoryHarness)) {
    await each.run()
    if (each.skipped) skipped.set(each.name, each.skipped)
  }
  expect(skipped.get('every process sees what the others hold and have done')).toBe(
    'the receipts are not shared by several processes',
  )
  expect(skipped.get('of two commits with one lease at once, one effect happens')).toContain(
    'the receipts have no transactions',
  )
})
