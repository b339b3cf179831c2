import type { Claim } from '../protocol/receipts.js'
import { check, equal } from './conformance.js'
import { LONG_MS, type ReceiptsStatement } from './receipts-world.js'

const CLAIMERS = 24
const SHORT_MS = 100
/** Clocks are rounded, and no two tick alike. */
const SLACK_MS = 5

/** Claims and leases. */
export const claimStatements: readonly ReceiptsStatement[] = [
  {
    name: 'a key is free, then held, then done, and its answer is given back',
    needs: [],
    async run(world) {
      const lease = await world.take('k')
      equal([lease.scope, lease.key], [world.scope, 'k'], 'scope and key of the lease')
      const busy = await world.claim('k')
      check(busy.state === 'busy', `Expected the key to be busy while it is held, got ${busy.state}`)
      const { heldMs, leftMs } = busy
      check(
        heldMs >= 0 && leftMs > 0 && leftMs <= LONG_MS,
        `Expected heldMs and leftMs in the lease, got ${heldMs}, ${leftMs}`,
      )
      check(
        Math.abs(heldMs + leftMs - LONG_MS) <= SLACK_MS,
        `Expected heldMs and leftMs to add up to the lease (${LONG_MS}), got ${heldMs} and ${leftMs}`,
      )
      equal(await world.receipts.complete(lease, '{"a":1}'), true, 'the answer of complete')
      for (let n = 0; n < 2; n++)
        equal(await world.claim('k'), { state: 'done', answer: '{"a":1}' }, 'a claim of a done key')
    },
  },
  {
    name: 'a key that is held or done with another fingerprint is a mismatch, and stays what it is',
    needs: [],
    async run(world) {
      const print = 'f'.repeat(64)
      const lease = await world.take('k', { print })
      const others = [`${'f'.repeat(63)}g`, 'f', 'F'.repeat(64), '0']
      for (const other of others)
        equal((await world.claim('k', { print: other })).state, 'mismatch', 'a claim of a held key')
      equal((await world.claim('k', { print })).state, 'busy', 'a claim with the same fingerprint')
      equal(await world.receipts.complete(lease, '1'), true, 'complete after the mismatches')
      for (const other of others)
        equal((await world.claim('k', { print: other })).state, 'mismatch', 'a claim of a done key')
      equal(await world.claim('k', { print }), { state: 'done', answer: '1' }, 'a claim with the same fingerprint')
    },
  },
  {
    name: 'every claim has a token of its own',
    needs: [],
    async run(world) {
      const tokens = new Set<string>()
      for (let n = 0; n < 8; n++) {
        const lease = await world.take('k')
        tokens.add(lease.token)
        await world.receipts.release(lease)
        tokens.add((await world.take(`other ${n}`)).token)
      }
      equal(tokens.size, 16, 'the number of tokens of 16 claims')
    },
  },
  {
    name: 'a released key is free for any message; one that is done is not released',
    needs: [],
    async run(world) {
      const { receipts } = world
      const first = await world.take('k', { print: 'one' })
      await receipts.release(first)
      await receipts.release(first)
      const lease = await world.take('k', { print: 'two' })
      await receipts.release(first)
      equal((await world.claim('k', { print: 'two' })).state, 'busy', 'the key after its old lease was released again')
      equal(await receipts.complete(first, '"one"'), false, 'complete of a lease that was released')
      equal(await receipts.complete(lease, '"two"'), true, 'complete')
      await receipts.release(lease)
      equal(
        await world.claim('k', { print: 'two' }),
        { state: 'done', answer: '"two"' },
        'the key after its lease was released',
      )
    },
  },
  {
    name: 'a key that was released is not completed, and stays free',
    needs: [],
    async run(world) {
      const lease = await world.take('k')
      await world.receipts.release(lease)
      equal(await world.receipts.complete(lease, '1'), false, 'complete of a lease that was released')
      await world.take('k')
    },
  },
  {
    name: 'the first answer stays, whatever is completed after it',
    needs: [],
    async run(world) {
      const lease = await world.finish('k', '"first"')
      await world.receipts.complete(lease, '"second"')
      equal(await world.claim('k'), { state: 'done', answer: '"first"' }, 'the key')
    },
  },
  {
    name: 'a lease that is over frees the key, not before its time, and for any message',
    needs: [],
    async run(world) {
      const from = world.clock.now()
      const late = await world.take('k', { leaseMs: SHORT_MS })
      const second = await world.takeOver('k', { print: 'another' })
      const heldMs = world.clock.now() - from
      check(
        heldMs >= SHORT_MS - SLACK_MS,
        `Expected the key to be held for ${SHORT_MS} ms, it was free after ${heldMs}`,
      )
      check(second.token !== late.token, 'Expected the second claim to have a new token, got the same')
    },
  },
  {
    name: 'who comes late changes nothing: neither complete nor release count once another holds the key',
    needs: [],
    async run(world) {
      const { receipts } = world
      const late = await world.take('k', { leaseMs: SHORT_MS })
      const second = await world.takeOver('k')
      equal(await receipts.complete(late, '"late"'), false, 'complete of a lease that went to another')
      await receipts.release(late)
      equal((await world.claim('k')).state, 'busy', 'the key after the old lease was released')
      equal(await receipts.complete(second, '"second"'), true, 'complete of the lease that holds')
      equal(await receipts.complete(late, '"late"'), false, 'complete of the old lease, once the key is done')
      await receipts.release(late)
      equal(await world.claim('k'), { state: 'done', answer: '"second"' }, 'the key')
    },
  },
  {
    name: 'a lease that is over but was taken by nobody: complete tells the truth of what is remembered',
    needs: [],
    async run(world) {
      const lease = await world.take('k', { leaseMs: SHORT_MS })
      await world.pass(SHORT_MS + SLACK_MS)
      const counts = await world.receipts.complete(lease, '"late"')
      const claim = await world.claim('k')
      const expected = counts ? { state: 'done', answer: '"late"' } : { state: 'claimed' }
      equal({ ...claim, lease: undefined }, { ...expected, lease: undefined }, `a claim after complete said ${counts}`)
    },
  },
  {
    name: `of ${CLAIMERS} who claim at once, one holds the key`,
    needs: [],
    async run(world) {
      const several = await world.several(3)
      for (let round = 1; round <= 4; round++) {
        const claim = async (index: number) => {
          await world.moment()
          return world.claim(`k${round}`, { by: several[index % several.length] ?? world.receipts })
        }
        const claims = await Promise.all(Array.from({ length: CLAIMERS }, (_, index) => claim(index)))
        const count = (state: Claim['state']) => claims.filter((each) => each.state === state).length
        equal(
          [count('claimed'), count('busy')],
          [1, CLAIMERS - 1],
          'how many claimed the key, and how many found it busy,',
        )
      }
    },
  },
  {
    name: `of ${CLAIMERS} who want to take over a lease that is over, one gets it`,
    needs: [],
    async run(world) {
      const several = await world.several(3)
      const late = await world.take('k', { leaseMs: SHORT_MS })
      await world.pass(SHORT_MS + 20)
      const claims = await Promise.all(
        Array.from({ length: CLAIMERS }, (_, index) =>
          world.claim('k', { by: several[index % several.length] ?? world.receipts }),
        ),
      )
      const held = claims.filter((each) => each.state === 'claimed')
      equal(held.length, 1, 'how many hold the key')
      equal(await world.receipts.complete(late, '"late"'), false, 'complete of the lease that is over')
    },
  },
]
