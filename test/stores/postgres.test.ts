import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { receiptsConformance, storeConformance } from '../../src/testing/index.js'
import { PostgresWorld, postgresAnswers, postgresUrl } from './postgres-world.js'

const hasPostgres = await postgresAnswers()

test.runIf(process.env.CI === 'true')('there is a PostgreSQL to test with', () => {
  expect(hasPostgres, `a PostgreSQL at ${postgresUrl}`).toBe(true)
})

describe.skipIf(!hasPostgres)(
  `PostgreSQL${hasPostgres ? '' : ` (none at ${postgresUrl}; set STEADY_POSTGRES_URL)`}`,
  () => {
    let world: PostgresWorld
    beforeAll(async () => {
      world = await PostgresWorld.begin()
    })
    afterAll(() => world?.[Symbol.asyncDispose]())

    describe('the store', () => {
      for (const each of storeConformance(() => world.harness())) {
        test(each.name, async () => {
          await each.run()
          expect(each.skipped).toBeUndefined()
        })
      }
    })

    describe('its receipts', () => {
      // Only one that is about the time they are kept must not wait long for it.
      const cases = (ttlMs?: number) =>
        receiptsConformance(() => world.receiptsHarness(ttlMs)).filter(
          ({ needs }) => needs.includes('ttlMs') === (ttlMs !== undefined),
        )
      for (const each of [...cases(), ...cases(1_500)]) {
        test(each.name, async ({ skip }) => {
          await each.run()
          skip(each.skipped !== undefined, each.skipped)
        })
      }
    })
  },
)
