import { describe, expect, test } from 'vitest'
import { type SourceHarness, sourceConformance } from '../../src/testing/index.js'
import { brokenHarness, emitterHarness, redisAnswers, redisHarness, redisUrl, type SourceDefect } from './sources.js'

function suite(make: () => SourceHarness | Promise<SourceHarness>): void {
  for (const each of sourceConformance(make)) {
    test(each.name, async ({ skip }) => {
      await each.run()
      skip(each.skipped !== undefined, each.skipped)
    })
  }
}

describe('an EventEmitter', () => suite(emitterHarness))

describe('a bus whose connection can break', () => suite(brokenHarness))

const hasRedis = await redisAnswers()

test.runIf(process.env.CI === 'true')('there is a Redis to test with', () => {
  expect(hasRedis, `a Redis at ${redisUrl}`).toBe(true)
})

describe.skipIf(!hasRedis)(`Redis pub/sub${hasRedis ? '' : ` (no Redis at ${redisUrl}; set STEADY_REDIS_URL)`}`, () =>
  suite(redisHarness),
)

describe('broken sources fail the case that is meant for them', () => {
  const controls: [SourceDefect, string, RegExp][] = [
    [
      'joins lazily',
      'a join is confirmed when it resolves: an event right after it is delivered',
      /Expected the event right after the join \(round 1\) within/,
    ],
    [
      'ignores the abort',
      'a join that is aborted leaves nothing behind, whether it still resolves or not',
      /Expected what was delivered after the abort to be \[\], got \["too late"\]/,
    ],
    [
      'leaves for all',
      'two joins of one stream are two subscriptions: each hears everything until it leaves',
      /Expected the event, in the join that is left within/,
    ],
    [
      'reverses bursts',
      'events arrive in order, each once, however fast they come',
      /Expected what was delivered to be/,
    ],
    [
      'keeps silent about losses',
      'when events may have been lost, lost() says so before the next event',
      /Expected what is told first after the break to be "lost", got undefined/,
    ],
  ]
  test.each(controls)('%s', async (defect, name, message) => {
    const found = sourceConformance(() => brokenHarness(defect)).find((each) => each.name === name)
    await expect(found?.run()).rejects.toThrow(message)
  })
})
