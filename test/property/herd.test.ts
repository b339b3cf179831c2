import fc from 'fast-check'
import { test } from 'vitest'
import { AFTER_TEN, AT_ONCE, herd, ourReader } from './herd.js'
import { patience, runs } from './runs.js'

test('10,000 clients of a server that is back at once: 3.5 % in any 100 ms, 30 % in any second, all live in 6 s', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(herd(ourReader, AT_ONCE), { numRuns: runs(1), endOnFailure: true })
})

test('10,000 clients of a server that was away for 10 s: 20 % of their attempts in any second, all live in 40 s', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(herd(ourReader, AFTER_TEN), { numRuns: runs(1), endOnFailure: true })
})
