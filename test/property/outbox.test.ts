import fc from 'fast-check'
import { test } from 'vitest'
import { createOutbox } from '../../src/client/outbox.js'
import { order } from './order.js'
import { ourOutbox, outboxKeeps } from './outbox.js'
import { ourTabs, tabsKeep } from './outbox-tabs.js'
import { patience, runs } from './runs.js'

test('over any schedule of answers, losses, pauses, offline spells and ends of the page, an outbox keeps order and accounts', {
  timeout: patience(90_000),
}, async () => {
  await fc.assert(outboxKeeps(ourOutbox), { numRuns: runs(500) })
})

test('however tabs on one storage open, close and die, nothing is orphaned, out of order, or told falsely', {
  timeout: patience(90_000),
}, async () => {
  await fc.assert(tabsKeep(ourTabs), { numRuns: runs(300) })
})

test('whatever fails, the server first accepts in the order of sending, and all of it', {
  timeout: patience(60_000),
}, async () => {
  const ours = order(({ post, clock }) =>
    createOutbox('http://test/', {
      clock,
      fetch: async (_, init) => {
        await post(String(init?.body))
        return new Response(null, { status: 204 })
      },
    }),
  )
  await fc.assert(ours, { numRuns: runs(300) })
})
