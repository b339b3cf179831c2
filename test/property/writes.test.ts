import fc from 'fast-check'
import { test } from 'vitest'
import { patience, runs } from './runs.js'
import { ourWrite, writes } from './writes.js'

test('a write ends with room, close, abort or deadline, whichever comes first, and leaves nothing behind', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(writes(ourWrite), { numRuns: runs(100) })
})
