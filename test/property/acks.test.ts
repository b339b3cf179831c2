import fc from 'fast-check'
import { test } from 'vitest'
import { acks, ourAcks } from './acks.js'
import { patience, runs } from './runs.js'

test('over any schedule of events and cuts, what is acknowledged was finished, and goes only forward', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(acks(ourAcks), { numRuns: runs(300) })
})
