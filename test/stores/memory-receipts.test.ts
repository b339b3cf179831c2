import { expect, test } from 'vitest'
import type { ReceiptBook } from '../../src/protocol/receipt-book.js'
import type { Claim, Lease } from '../../src/protocol/receipts.js'
import { type MemoryReceiptsOptions, memoryReceipts } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

/** Receipts in virtual time, with the verbs that the tests use most. */
function book(options: Omit<MemoryReceiptsOptions, 'clock'> = {}) {
  const clock = virtualClock()
  // In memory, all is answered at once.
  const receipts = memoryReceipts({ ...options, clock }) as ReceiptBook
  return {
    clock,
    receipts,
    claim: (key: string, leaseMs = 1_000, scope = '') => receipts.claim(scope, key, 'print', leaseMs),
    /** Claims and completes. */
    finish(key: string, answer: string | null = '1', scope = ''): void {
      receipts.complete(leaseOf(receipts.claim(scope, key, 'print', 1_000)), answer)
    },
    /** Whether the key is done, without claiming it when it is not. */
    isDone(key: string, scope = ''): boolean {
      const claim = receipts.claim(scope, key, 'print', 1_000)
      if (claim.state === 'claimed') receipts.release(claim.lease)
      return claim.state === 'done'
    },
  }
}

function leaseOf(claim: Claim): Lease {
  if (claim.state !== 'claimed') throw new Error(`Expected the key to be free, it is ${claim.state}`)
  return claim.lease
}

test('a key is free, then held, then done', () => {
  const { receipts, claim } = book()
  const lease = leaseOf(claim('k'))
  expect(claim('k')).toEqual({ state: 'busy', heldMs: 0, leftMs: 1_000 })
  expect(receipts.complete(lease, '{"a":1}')).toBe(true)
  expect(claim('k')).toEqual({ state: 'done', answer: '{"a":1}' })
  expect(receipts.claim('', 'k', 'another', 1_000)).toEqual({ state: 'mismatch' })
})

test('a released key is free for any message; a done one is not released', () => {
  const { receipts, claim } = book()
  receipts.release(leaseOf(claim('k')))
  const lease = leaseOf(receipts.claim('', 'k', 'another', 1_000))
  receipts.complete(lease, null)
  receipts.release(lease)
  expect(receipts.claim('', 'k', 'another', 1_000)).toEqual({ state: 'done', answer: null })
})

test('a lease that is over frees the key, and its token is worth nothing from then on', () => {
  const { receipts, claim, clock } = book()
  const late = leaseOf(claim('k'))
  clock.jump(999)
  expect(claim('k')).toEqual({ state: 'busy', heldMs: 999, leftMs: 1 })
  clock.jump(1)
  const second = leaseOf(claim('k'))
  receipts.release(late)
  expect(receipts.complete(late, '"late"')).toBe(false)
  expect(claim('k').state).toBe('busy')
  expect(receipts.complete(second, '"second"')).toBe(true)
  expect(receipts.complete(late, '"late"')).toBe(false)
  expect(claim('k')).toEqual({ state: 'done', answer: '"second"' })
})

test('a lease that is over but was taken by nobody still counts', () => {
  const { receipts, claim, clock } = book()
  const lease = leaseOf(claim('k'))
  clock.jump(10_000)
  expect(receipts.complete(lease, '1')).toBe(true)
})

test('scopes do not meet, however they and the keys are put together', () => {
  const { finish, isDone } = book()
  finish('a', '1', 'b c')
  finish('a b', '2', 'c')
  expect([isDone('a', 'b c'), isDone('a b', 'c'), isDone('a b c'), isDone('a', 'c'), isDone('a', '')]).toEqual([
    true,
    true,
    false,
    false,
    false,
  ])
})

test('a receipt is kept for `ttlMs` after its message was handled: 24 hours by default', () => {
  for (const [options, ttlMs] of [[{}, 86_400_000] as const, [{ ttlMs: 500 }, 500] as const]) {
    const { receipts, claim, clock, isDone } = book(options)
    const lease = leaseOf(claim('k'))
    clock.jump(400)
    receipts.complete(lease, '1')
    clock.jump(ttlMs - 1)
    expect(isDone('k')).toBe(true)
    clock.jump(1)
    expect(isDone('k')).toBe(false)
  }
})

test('when full, the receipt that is done for longest goes', () => {
  const { receipts, claim, finish, isDone } = book({ maxItems: 3 })
  const first = leaseOf(claim('first'))
  finish('a')
  receipts.complete(first, '1')
  finish('b')
  leaseOf(claim('c'))
  expect(claim('c').state).toBe('busy')
  expect(claim('first').state).toBe('done')
  expect(claim('b').state).toBe('done')
  // Last, for to ask takes a place.
  expect(isDone('a')).toBe(false)
})

test('a message being handled never gives way; when there is nothing else, there is no room', () => {
  const { receipts, claim, clock } = book({ maxItems: 2 })
  const a = leaseOf(claim('a'))
  leaseOf(claim('b', 5_000))
  const full = expect.objectContaining({ name: 'SseError', code: 'OVERLOADED' })
  expect(() => claim('c')).toThrow(full)
  expect(() => claim('c')).toThrow(/`maxItems` \(2\)/)
  expect(claim('a').state).toBe('busy')
  receipts.release(a)
  leaseOf(claim('c'))
  expect(() => claim('d')).toThrow(full)
  // One whose lease is over may have hung.
  clock.jump(1_000)
  leaseOf(claim('d'))
  expect(claim('b').state).toBe('busy')
})

test('one whose lease is over stays as long as something done can give way, and can still complete', () => {
  const { receipts, claim, clock, finish } = book({ maxItems: 2 })
  const slow = leaseOf(claim('slow'))
  finish('a')
  clock.jump(1_000)
  leaseOf(claim('b'))
  expect(receipts.complete(slow, '1')).toBe(true)
})

test('one that is taken over needs no room', () => {
  const { claim, clock, finish, isDone } = book({ maxItems: 2 })
  leaseOf(claim('slow'))
  finish('a')
  clock.jump(1_000)
  leaseOf(claim('slow'))
  expect(isDone('a')).toBe(true)
})

test('ten thousand are kept by default, and never more', () => {
  const { finish, claim } = book()
  for (let n = 0; n < 10_500; n++) finish(`k${n}`)
  let kept = 0
  // From the newest: a key that is gone takes a place, of the oldest, when it is asked for.
  for (let n = 10_499; n >= 0; n--) if (claim(`k${n}`).state === 'done') kept++
  expect(kept).toBe(10_000)
})

test('what answers hold together is bounded too, and the newest stays in any case', () => {
  const { finish, isDone } = book({ maxChars: 700 })
  for (const key of ['a', 'b', 'c', 'd']) finish(key, 'x'.repeat(300))
  expect(['d', 'c', 'b', 'a'].map((key) => isDone(key))).toEqual([true, true, false, false])
  finish('large', 'x'.repeat(5_000))
  expect(['large', 'd', 'c'].map((key) => isDone(key))).toEqual([true, false, false])
  finish('small', 'x')
  expect(['small', 'large'].map((key) => isDone(key))).toEqual([true, false])
})

test('room that was given back is room: the bound on answers does not drift', () => {
  const { finish, isDone, clock } = book({ maxChars: 700, ttlMs: 1_000 })
  for (let round = 0; round < 50; round++) {
    finish(`a${round}`, 'x'.repeat(300))
    finish(`b${round}`, 'x'.repeat(300))
    expect([isDone(`a${round}`), isDone(`b${round}`)]).toEqual([true, true])
    clock.jump(1_000)
  }
})

test('there is no timer', () => {
  const { clock, claim, finish } = book()
  finish('a')
  claim('b')
  expect(clock.pending).toBe(0)
})

test('there are no transactions', () => {
  expect(memoryReceipts().commit).toBeUndefined()
})

test.each([
  [{ maxItems: 0 }, /`maxItems`/],
  [{ maxChars: -1 }, /`maxChars`/],
  [{ ttlMs: 0 }, /`ttlMs`/],
])('the options %j are refused', (options, message) => {
  expect(() => memoryReceipts(options)).toThrow(message)
})
