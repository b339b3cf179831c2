import fc from 'fast-check'
import { expect, test } from 'vitest'
import { simulateCrowd, type Waiting } from '../bench/crowd.js'
import { crowded, restart, stories } from '../bench/incidents.js'
import { runs, seeded } from './property/runs.js'

const CROWD = 20_000
const [afterRestart, afterRegion, afterDeploy] = stories(CROWD)

function story(which: typeof afterRestart, waiting: Waiting, extra: { maxAgeMs?: number } = {}) {
  if (!which) throw new Error('no such story')
  return simulateCrowd({ ...which.options, waiting, ...extra })
}

const most = (values: Float64Array) => values.reduce((a, b) => Math.max(a, b), 0)
const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0)

test('after a restart of all processes the attempts come spread out, and all are live within 60 s', async () => {
  const property = fc.asyncProperty(fc.nat(), (seed) =>
    seeded(seed, async () => {
      const report = story(afterRestart, 'steady-sse')
      expect(report.densest).toBeLessThan(0.06 * CROWD)
      expect(report.allLiveMs).toBeGreaterThan(0)
      expect(report.allLiveMs).toBeLessThan(60_000)
    }),
  )
  await fc.assert(property, { numRuns: runs(3), endOnFailure: true })
})

test('a region that is away for minutes is asked less than a third as often as by clients that come every 3 s', async () => {
  await seeded(1, async () => {
    const ours = sum(story(afterRegion, 'steady-sse').attempts)
    expect(ours).toBeLessThan(0.3 * sum(story(afterRegion, 'native EventSource').attempts))
  })
})

test('the same clients without jitter come all in one tenth of a second', async () => {
  await seeded(1, async () => {
    expect(story(afterRestart, 'native EventSource').densest).toBe(CROWD)
    expect(story(afterRestart, 'exponential, no jitter').densest).toBe(CROWD)
  })
})

test('a `retryMs` as wide as clients ÷ joins a second lets nearly everybody in at the first attempt, and a narrower one does not', async () => {
  await seeded(1, async () => {
    // 4,000 joins a second of all processes: 20,000 clients need 5 s.
    const options = { ...crowded(CROWD, 500), joinsPerSecond: 200, waiting: 'steady-sse' } as const
    const wide = simulateCrowd({ ...options, retryMs: [1_000, 6_000] })
    const narrow = simulateCrowd({ ...options, retryMs: [1_000, 2_000] })
    expect(sum(wide.failed)).toBeLessThan(0.02 * CROWD)
    expect(sum(narrow.failed)).toBeGreaterThan(0.5 * CROWD)
  })
})

test('a client takes no wait above 60 s, and comes back within 66 s, whatever `retryMs` says', async () => {
  await seeded(1, async () => {
    const report = simulateCrowd({ ...crowded(CROWD, 500), waiting: 'steady-sse', retryMs: [1_000, 600_000] })
    expect(sum(report.failed)).toBe(0)
    expect(report.allLiveMs).toBeGreaterThan(60_000)
    expect(report.allLiveMs).toBeLessThanOrEqual(66_010)
  })
})

test('`maxAgeMs` evens out the connections that a rolling deploy left uneven, without a peak', async () => {
  await seeded(1, async () => {
    if (!afterDeploy) throw new Error('no such story')
    const options = { ...afterDeploy.options, waiting: 'steady-sse', lastsMs: 1_200_000 } as const
    const without = simulateCrowd(options).connections
    const aged = simulateCrowd({ ...options, maxAgeMs: 600_000 })
    expect(Math.min(...without)).toBeLessThan(0.2 * (CROWD / 20))
    expect(Math.min(...aged.connections)).toBeGreaterThan(0.8 * (CROWD / 20))
    expect(most(aged.attempts.subarray(300))).toBeLessThan(CROWD / 60)
  })
})

test('no client is lost: each is live, or has a next attempt', async () => {
  const property = fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 20_000 }), (seed, awayMs) =>
    seeded(seed, async () => {
      const base = { clients: 500, processes: 4, waiting: 'steady-sse', joinsPerSecond: 1_000 } as const
      const report = simulateCrowd({ ...base, incidents: restart(4, awayMs), lastsMs: 120_000 })
      expect(report.live.at(-1)).toBe(500)
      expect(report.connections.reduce((a, b) => a + b, 0)).toBe(500)
      // Each came back once, or failed and came again.
      expect(sum(report.attempts) - sum(report.failed)).toBe(500)
    }),
  )
  await fc.assert(property, { numRuns: runs(20), endOnFailure: true })
})
