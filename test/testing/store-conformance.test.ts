import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.js'
import { type StoreHarness, storeConformance } from '../../src/testing/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { mutants } from './mutants.js'
import { type Defect, SharedServer } from './shared-store.js'

function memoryHarness(): StoreHarness {
  const clock = virtualClock()
  const store = memoryStore({ maxEvents: 16, maxAgeMs: 600_000 })
  const release = store.attach?.({ clock, maxStreams: 1_000, sealedTtlMs: 86_400_000 })
  return {
    open: () => store,
    maxEvents: 16,
    maxAgeMs: 600_000,
    clock,
    advance: (ms) => clock.advance(ms),
    close() {
      release?.()
      expect(clock.pending, 'timers that are left').toBe(0)
    },
  }
}

describe('memoryStore', () => {
  for (const each of storeConformance(memoryHarness)) {
    test(each.name, async ({ skip }) => {
      await each.run()
      skip(each.skipped !== undefined, each.skipped)
    })
  }
})

describe('a store that several processes share', () => {
  for (const each of storeConformance(() => new SharedServer().harness())) {
    test(each.name, async () => {
      await each.run()
      expect(each.skipped).toBeUndefined()
    })
  }
})

test('the cases run under node:test, too, and what a harness lacks is skipped there', { timeout: 60_000 }, async () => {
  const given = ['--import', 'tsx', '--test', '--test-reporter', 'tap', 'test/testing/under-node-test.ts']
  const { stdout } = await promisify(execFile)(process.execPath, given)
  const count = (what: string) => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(stdout)?.[1])
  expect([count('fail'), count('pass') > 30, count('skipped') > 15]).toEqual([0, true, true])
  expect(stdout).toContain('# SKIP the harness has no `maxEvents`')
})

describe('broken stores fail the case that is meant for them', () => {
  const controls: [Defect, string, RegExp][] = [
    [
      'skips a hole',
      '24 writers at once leave no hole, and a reader beside them never sees one',
      /Expected the offsets of read\(.*\) with? ?|Expected/,
    ],
    [
      'reuses an offset after pruning',
      'no offset is used twice, not even when everything was pruned',
      /Expected the place of the first event after all were pruned to be .*offset: 6.*, got .*offset: 1/,
    ],
    [
      'hints before commit',
      'a hint comes when the data can be read, never before the commit',
      /Expected a hint after which offset 1 can be read within \d+ ms, and it did not come/,
    ],
  ]
  test.each(controls)('%s', async (defect, name, message) => {
    const found = storeConformance(() => new SharedServer(defect).harness()).find((each) => each.name === name)
    await expect(found?.run()).rejects.toThrow(message)
  })
})

describe('every case finds a store that breaks its rule', () => {
  const cases = (make: () => StoreHarness) => new Map(storeConformance(make).map((each) => [each.name, each]))

  test.each(mutants)('$breaks', { timeout: 60_000 }, async ({ make, found }) => {
    const all = cases(make)
    for (const name of found) await expect(all.get(name)?.run(), name).rejects.toThrow(/^Expected/)
  })

  test('and no case is left out', () => {
    const found = new Set(mutants.flatMap((mutant) => mutant.found))
    expect([...cases(memoryHarness).keys()].filter((name) => !found.has(name))).toEqual([])
  })
})
