import { check, equal } from './conformance.js'
import { type ReceiptsStatement, thrownBy } from './receipts-world.js'

const NEEDS = ['commit', 'effect', 'effects']
const SHORT_MS = 100

/** Effects in the transaction of their receipt. */
export const commitStatements: readonly ReceiptsStatement[] = [
  {
    name: 'commit runs the effect and remembers the answer: both are there',
    needs: NEEDS,
    async run(world) {
      for (const [key, answer] of [
        ['a', '{"id":1}'],
        ['b', null],
      ] as const) {
        const lease = await world.take(key)
        equal(await world.commit(lease, answer, [`${key}1`, `${key}2`]), true, 'the answer of commit')
        equal(await world.claim(key), { state: 'done', answer }, 'the key')
      }
      equal(await world.effects(), ['a1', 'a2', 'b1', 'b2'], 'what the effects wrote')
    },
  },
  {
    name: 'an effect that throws leaves nothing: its error is thrown, and the key is still held by its lease',
    needs: NEEDS,
    async run(world) {
      const lease = await world.take('k')
      const failure = new Error('The effect failed.')
      const thrown = await thrownBy(() =>
        world.commitBy(world.receipts, lease, '"failed"', (transaction) => {
          const wait = world.write(transaction, ['failed'])
          if (wait === undefined) throw failure
          return wait.then(() => {
            throw failure
          })
        }),
      )
      check(thrown === failure, `Expected commit to throw what the effect threw, got ${String(thrown)}`)
      equal(await world.effects(), [], 'what the effect left')
      equal((await world.claim('k')).state, 'busy', 'the key')
      equal(await world.commit(lease, '"again"', ['again']), true, 'commit with the same lease')
      equal(await world.effects(), ['again'], 'what the second effect wrote')
      equal(await world.claim('k'), { state: 'done', answer: '"again"' }, 'the key')
    },
  },
  {
    name: 'the key can be released after its effect has thrown',
    needs: NEEDS,
    async run(world) {
      const lease = await world.take('k')
      await thrownBy(() =>
        world.commitBy(world.receipts, lease, '1', () => {
          throw new Error('The effect failed.')
        }),
      )
      await world.receipts.release(lease)
      await world.commit(await world.take('k', { print: 'another' }), '2', ['2'])
      equal(await world.effects(), ['2'], 'what the effects wrote')
    },
  },
  {
    name: 'commit with a lease that went to another runs no effect and changes nothing',
    needs: NEEDS,
    async run(world) {
      const late = await world.take('k', { leaseMs: SHORT_MS })
      const second = await world.takeOver('k')
      let runs = 0
      const commitLate = () =>
        world.commitBy(world.receipts, late, '"late"', (transaction) => {
          runs++
          return world.write(transaction, ['late'])
        })
      equal(await commitLate(), false, 'commit while another holds the key')
      equal((await world.claim('k')).state, 'busy', 'the key')
      equal(await world.commit(second, '"second"', ['second']), true, 'commit of the lease that holds')
      equal(await commitLate(), false, 'commit once the key is done')
      equal(runs, 0, 'how often the effect of the late lease ran')
      equal(await world.effects(), ['second'], 'what the effects wrote')
      equal(await world.claim('k'), { state: 'done', answer: '"second"' }, 'the key')
    },
  },
  {
    name: 'commit with a lease that was released or is done runs no effect',
    needs: NEEDS,
    async run(world) {
      const released = await world.take('released')
      await world.receipts.release(released)
      equal(await world.commit(released, '1', ['released']), false, 'commit of a released lease')
      const done = await world.finish('done', '"first"')
      await world.commit(done, '"second"', ['done'])
      equal(await world.effects(), [], 'what the effects wrote')
      equal(await world.claim('done'), { state: 'done', answer: '"first"' }, 'the key that was done')
      await world.take('released')
    },
  },
  {
    name: 'of two commits with one lease at once, one effect happens',
    needs: NEEDS,
    async run(world) {
      const several = await world.several(2)
      for (let round = 1; round <= 4; round++) {
        const lease = await world.take(`k${round}`)
        const both = await Promise.all(
          [0, 1].map(async (index) => {
            await world.moment()
            return world.commit(lease, '1', [`k${round}`], several[index])
          }),
        )
        check(both.includes(true), 'Expected one of two commits to be true, got false twice')
      }
      equal(await world.effects(), ['k1', 'k2', 'k3', 'k4'], 'what the effects wrote')
    },
  },
  {
    name: 'many workers that claim and commit the same keys: one effect for each key',
    needs: NEEDS,
    async run(world) {
      const several = await world.several(3)
      const keys = ['a', 'b', 'c', 'd', 'e', 'f']
      const work = async (worker: number) => {
        const by = several[worker % several.length] ?? world.receipts
        for (let n = 0; n < keys.length; n++) {
          const key = keys[(n + worker) % keys.length] ?? ''
          await world.moment()
          const claim = await world.claim(key, { by })
          if (claim.state === 'claimed') await world.commit(claim.lease, JSON.stringify(key), [key], by)
        }
      }
      await Promise.all(Array.from({ length: 12 }, (_, worker) => work(worker)))
      equal([...(await world.effects())].sort(), keys, 'what the effects wrote')
      for (const key of keys) equal(await world.claim(key), { state: 'done', answer: JSON.stringify(key) }, 'a key')
    },
  },
  {
    name: 'until an effect has ended, nobody sees it, and the key is held',
    needs: [...NEEDS, 'asynchronous', 'shared'],
    async run(world) {
      const [, other = world.receipts] = await world.several(2)
      const lease = await world.take('k')
      let go = () => {}
      let isWritten = false
      const wait = new Promise<void>((resolve) => {
        go = resolve
      })
      const committing = world.commitBy(world.receipts, lease, '1', async (transaction) => {
        await world.write(transaction, ['k'])
        isWritten = true
        await wait
      })
      await world.until(() => isWritten, 'the effect to be under way')
      equal(await world.effects(), [], 'what is seen of the effect')
      // It may have to wait for the transaction, but then it must not be given the key.
      const claiming = world.claim('k', { by: other })
      await world.pass(20)
      go()
      equal(await world.settled(committing, 'commit to end'), true, 'the answer of commit')
      const { state } = await world.settled(claiming, 'the claim to be answered')
      check(state === 'busy' || state === 'done', `Expected the key to be busy or done for another, got ${state}`)
      equal(await world.effects(), ['k'], 'what the effect wrote')
    },
  },
  {
    name: 'a connection that breaks within an effect leaves nothing, and the key is free when its lease is over',
    needs: [...NEEDS, 'breakOff', 'shared'],
    async run(world) {
      const [, other = world.receipts] = await world.several(2)
      const lease = await world.take('k', { leaseMs: SHORT_MS })
      const thrown = await world.settled(
        thrownBy(() =>
          world.commitBy(world.receipts, lease, '"broken"', (transaction) => {
            const wait = world.write(transaction, ['broken'])
            return wait !== undefined
              ? wait.then(() => world.harness.breakOff?.(transaction))
              : world.harness.breakOff?.(transaction)
          }),
        ),
        'commit to be rejected',
      )
      check(thrown !== undefined, 'Expected commit on a connection that broke to be rejected')
      equal(await world.effects(), [], 'what the effect left')
      const second = await world.takeOver('k', { by: other })
      equal(await world.commit(second, '"second"', ['second'], other), true, 'commit of another process')
      equal(await world.effects(), ['second'], 'what the effects wrote')
      equal(await world.claim('k', { by: other }), { state: 'done', answer: '"second"' }, 'the key')
    },
  },
]
