import { SseError } from '../protocol/error.js'
import type { Claim, Receipts } from '../protocol/receipts.js'
import { check, equal } from './conformance.js'
import { LONG_MS, leaseOf, type ReceiptsStatement, thrownBy } from './receipts-world.js'

/** Clocks are rounded, and no two tick alike. */
const SLACK_MS = 5

const SCOPES = [
  '',
  ' ',
  'a',
  'a ',
  'a:b',
  'a.b',
  'a/b',
  'a\nb',
  '{a}',
  '*',
  '%',
  "'; --",
  'A',
  'ä漢😀',
  'x'.repeat(1_000),
]
const NOT_TEXT = ['a\0', 'a\0b', '\0', '\ud800', '\udfff', '\ufffd']
const KEYS = ['k', ' ', 'k ', 'K', 'a:k', '{k}', '*', '%', "'", '~'.repeat(255)]
const ANSWERS = [
  null,
  'null',
  '""',
  '{}',
  '0',
  '"ä漢😀\u200d\ufeff"',
  '"a\\u0000b\\r\\n"',
  `"${'x'.repeat(1_000_000)}"`,
]

/** What is kept, of whom, for how long, and how much of it. */
export const keepingStatements: readonly ReceiptsStatement[] = [
  {
    name: 'every answer is given back to the last character; null is not "null"',
    needs: [],
    async run(world) {
      for (const [index, answer] of ANSWERS.entries()) {
        await world.finish(`k${index}`, answer)
        const claim = await world.claim(`k${index}`)
        check(claim.state === 'done' && claim.answer === answer, `Expected answer ${index} to be given back as it was`)
      }
    },
  },
  {
    name: 'keys do not meet, nor do scopes, however they are put together',
    needs: [],
    run: (world) =>
      apart((scope, key) => world.finish(key, JSON.stringify([scope, key]), { scope }), world.receipts, SCOPES),
  },
  {
    name: 'scopes do not meet though they hold what is no text: NUL, and half of a surrogate pair',
    needs: [],
    run: (world) =>
      apart((scope, key) => world.finish(key, JSON.stringify([scope, key]), { scope }), world.receipts, NOT_TEXT),
  },
  {
    name: 'every process sees what the others hold and have done',
    needs: ['shared'],
    async run(world) {
      const [one = world.receipts, two = world.receipts, three = world.receipts] = await world.several(3)
      const lease = await world.take('k', { by: one })
      equal((await world.claim('k', { by: two })).state, 'busy', 'the key, for another process')
      equal((await world.claim('k', { by: two, print: 'another' })).state, 'mismatch', 'with another fingerprint')
      equal(await two.complete(lease, '"done"'), true, 'complete by another process that was given the lease')
      for (const by of [one, two, three])
        equal(await world.claim('k', { by }), { state: 'done', answer: '"done"' }, 'the key')
      const other = await world.take('other', { by: two })
      await three.release(other)
      await world.take('other', { by: one })
    },
  },
  {
    name: 'what is done is kept for ttlMs, and forgotten after',
    needs: ['ttlMs'],
    async run(world) {
      const ttlMs = world.harness.ttlMs ?? 0
      const from = world.clock.now()
      await world.finish('k')
      const claim = await world.claim('k')
      check(
        claim.state === 'done' || world.clock.now() - from >= ttlMs,
        `Expected the key to be done, got ${claim.state}`,
      )
      await world.pass(Math.max(0, ttlMs - (world.clock.now() - from) - SLACK_MS))
      await world.takeOver('k', { print: 'another' })
      const keptMs = world.clock.now() - from
      check(
        keptMs >= ttlMs - 2 * SLACK_MS,
        `Expected the receipt to be kept for ${ttlMs} ms, it was gone after ${keptMs}`,
      )
    },
  },
  {
    name: 'when full, what was done first gives way, and what is being handled stays',
    needs: ['maxItems'],
    async run(world) {
      const maxItems = world.harness.maxItems ?? 0
      const lease = await world.take('held')
      for (let n = 0; n < 2 * maxItems; n++) await world.finish(`k${n}`)
      equal((await world.claim(`k${2 * maxItems - 1}`)).state, 'done', 'the one done last')
      equal((await world.claim('held')).state, 'busy', 'the one being handled')
      equal((await world.claim('k0')).state, 'claimed', 'the one done first')
      equal(await world.receipts.complete(lease, '1'), true, 'complete of the one being handled')
    },
  },
  {
    name: 'when all are being handled there is no room: OVERLOADED, until one is released',
    needs: ['maxItems'],
    async run(world) {
      const maxItems = world.harness.maxItems ?? 0
      const first = await world.take('k0')
      for (let n = 1; n < maxItems; n++) await world.take(`k${n}`)
      const error = await thrownBy(() => world.claim('one more'))
      check(
        error instanceof SseError && error.code === 'OVERLOADED',
        `Expected a claim beyond \`maxItems\` (${maxItems}) to be rejected with SseError OVERLOADED, got ${String(error)}`,
      )
      for (let n = 0; n < maxItems; n++) equal((await world.claim(`k${n}`)).state, 'busy', 'what is being handled')
      await world.receipts.release(first)
      await world.take('one more')
    },
  },
  {
    name: 'while the receipts are away a claim is rejected and does not hang; afterwards what was done is known',
    needs: ['disconnect'],
    async run(world) {
      await world.finish('done', '1')
      const connect = await world.harness.disconnect?.()
      const error = await world.settled(
        thrownBy(() => world.claim('k')),
        'the claim to be rejected',
      )
      check(error !== undefined, 'Expected a claim to be rejected while the receipts are away')
      await connect?.()
      let claim: Claim | undefined
      for (let round = 0; claim === undefined; round++) {
        const again = await thrownBy(async () => {
          claim = await world.claim('done')
        })
        check(again === undefined || round < 200, `Expected the receipts to come back, got ${String(again)}`)
        if (again !== undefined) await world.pass(50)
      }
      equal(claim, { state: 'done', answer: '1' }, 'what was done before')
    },
  },
]

/** Every scope with every key: each holds its own answer, and another print in one is none in another. */
async function apart(
  finish: (scope: string, key: string) => Promise<unknown>,
  receipts: Receipts,
  scopes: readonly string[],
): Promise<void> {
  const pairs = scopes.flatMap((scope) =>
    (scope.length < 4 ? KEYS : KEYS.slice(0, 2)).map((key) => [scope, key] as const),
  )
  for (const [scope, key] of pairs) await finish(scope, key)
  for (const [scope, key] of pairs) {
    const claim = await receipts.claim(scope, key, 'print', LONG_MS)
    const expected = { state: 'done', answer: JSON.stringify([scope, key]) }
    equal(claim, expected, `the receipt of ${JSON.stringify({ scope, key })}`)
  }
  for (const [scope, key] of pairs.slice(0, 20)) {
    const claim = await receipts.claim(`${scope}|`, key, 'print', LONG_MS)
    const lease = leaseOf(claim, key)
    equal(lease.scope, `${scope}|`, 'the scope of a lease')
    await receipts.release(lease)
  }
}
