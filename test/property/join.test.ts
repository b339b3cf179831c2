import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { Everything } from '../support/explorer.js'
import { byConnection, bySubscription, join, play, type Scene } from './join.js'
import { patience, runs } from './runs.js'

const readers = [
  ['subscription', bySubscription],
  ['connection', byConnection],
] as const

/** Scenes small enough for every way that there is; the bound is on each. */
const small: readonly [string, Scene][] = [
  ['one writer here', { here: 1, elsewhere: 0, before: 1, from: 'now', losses: 0, polls: false }],
  ['one writer here, who does not wait', { here: 2, elsewhere: 0, before: 0, from: 'now', losses: 0, polls: false }],
  ['one writer elsewhere, whose hint may be lost', { here: 0, elsewhere: 1, before: 1, from: 'now', losses: 1 }],
  ['a cursor, and a writer elsewhere', { here: 0, elsewhere: 1, before: 2, cursor: 1, from: 'now', losses: 1 }],
  [
    'a cursor, and a writer here',
    { here: 1, elsewhere: 0, before: 2, cursor: 1, from: 'now', losses: 0, polls: false },
  ],
  [
    'a log that keeps one event',
    { here: 0, elsewhere: 2, before: 1, maxEvents: 1, from: 'now', losses: 0, polls: false },
  ],
  ['two writers', { here: 1, elsewhere: 1, before: 0, from: 'now', losses: 0, polls: false }],
]
const MOST_WAYS = 3_000

let explored = 0
let sampled = 0
afterAll(() => console.log(`join: ${explored} interleavings explored, ${sampled} of larger scenes sampled`))

describe.each(readers)('a reader that joins by a %s', (_, make) => {
  test.each(small)(
    'is given every event once and in order, wherever it is published: %s',
    {
      timeout: patience(60_000),
    },
    async (_name, scene) => {
      const all = new Everything()
      let ways = 0
      for (; ways < runs(MOST_WAYS) && all.next(); ways++) {
        await play(make, scene, all.choose)
        all.done()
      }
      explored += ways
      expect(ways).toBeGreaterThan(10)
    },
  )

  test('and so it is with two writers of several events, hints dropped, delayed and swapped, and a log that is cut off', {
    timeout: patience(60_000),
  }, async () => {
    const numRuns = runs(2_500)
    await fc.assert(join(make), { numRuns })
    sampled += numRuns
  })
})
