import { describe, expect, test } from 'vitest'
import { storeConformance } from '../../src/testing/index.js'
import { receiptsConformance } from '../../src/testing/receipts-conformance.js'
import { redisAnswers, redisUrl } from '../testing/sources.js'
import { ioredis, type MakeClient, nodeRedis, RedisWorld } from './redis-world.js'

const hasRedis = await redisAnswers()
const why = hasRedis ? '' : ` (no Redis at ${redisUrl}; set STEADY_REDIS_URL)`

test.runIf(process.env.CI === 'true')('there is a Redis to test with', () => {
  expect(hasRedis, `a Redis at ${redisUrl}`).toBe(true)
})

const NO_TRANSACTIONS = 'the harness has no `transaction`'
const clients: [string, MakeClient][] = [
  ['@redis/client', nodeRedis],
  ['ioredis', ioredis],
]

describe.skipIf(!hasRedis).each(clients)(`redisStore with %s${why}`, (_, make) => {
  for (const each of storeConformance(async () => (await RedisWorld.begin(make)).harness())) {
    test(each.name, { timeout: 30_000 }, async ({ skip }) => {
      await each.run()
      expect([undefined, NO_TRANSACTIONS]).toContain(each.skipped)
      skip(each.skipped !== undefined, each.skipped)
    })
  }

  describe('.receipts', () => {
    for (const each of receiptsConformance(async () => (await RedisWorld.begin(make)).receiptsHarness(5_000))) {
      test(each.name, { timeout: 30_000 }, async ({ skip }) => {
        await each.run()
        skip(each.skipped !== undefined, each.skipped)
      })
    }
  })
})
