import fc from 'fast-check'
import { test } from 'vitest'
import {
  attemptOfClient,
  bodyOfMessage,
  deadline,
  directWrite,
  joinOfStream,
  streamWrite,
  writeOfUser,
} from './deadlines.js'
import { patience, runs } from './runs.js'

test.each([
  ['a write of a response of its own', directWrite],
  ['a write of a stream', streamWrite],
  ['a write of writeSSE', writeOfUser],
  ['a join', joinOfStream],
  ['an attempt of a client', attemptOfClient],
  ['the body of a message', bodyOfMessage],
])('partial progress puts no deadline off: %s', { timeout: patience(30_000) }, async (_, limited) => {
  await fc.assert(deadline(limited), { numRuns: runs(60) })
})
