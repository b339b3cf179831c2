import fc from 'fast-check'
import { test } from 'vitest'
import { backoff, ourClient } from './backoff.js'
import { patience, runs } from './runs.js'

test('the wait before each attempt is what the rules say, whatever the server does', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(backoff(ourClient), { numRuns: runs(400) })
})
