import fc from 'fast-check'
import { test } from 'vitest'
import { heartbeat, hubBeating } from './heartbeat.js'
import { patience, runs } from './runs.js'

test('heartbeats keep their distance and never fail to come, under any clock, any churn and any writing', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(heartbeat(hubBeating), { numRuns: runs(300) })
})
