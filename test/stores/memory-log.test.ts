import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryLog } from '../../src/stores/memory-log.js'
import { runs } from '../property/runs.js'

const NOW = 1_000
const UNBOUNDED = { maxEvents: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER, maxAgeMs: 1 }

type Step = { readonly append: number } | { readonly keep: number }

const steps = fc.array(
  fc.oneof(
    fc.record({ append: fc.nat(40) }),
    fc.record({ append: fc.integer({ min: 200, max: 700 }) }),
    fc.record({ keep: fc.nat(300) }),
  ),
  { maxLength: 40 },
)

/** What a log is to hold: the newest of a plain list. */
function play(given: readonly Step[]) {
  const log = new MemoryLog()
  let held: string[] = []
  let count = 0
  for (const step of given) {
    if ('append' in step) {
      const data = Array.from({ length: step.append }, () => `event ${++count}`)
      log.append(
        data.map((each) => ({ event: undefined, data: each, key: undefined })),
        { now: NOW, tag: 1 },
      )
      held.push(...data)
    } else if (step.keep === 0) {
      log.clear()
      held = []
    } else {
      log.trim({ ...UNBOUNDED, maxEvents: step.keep }, NOW)
      held = held.slice(-step.keep)
    }
    log.measure()
    const { events, first, head } = log.page(0, { limit: count + 1 })
    expect(events.map(({ data }) => data)).toEqual(held)
    expect(events.map(({ offset }) => offset)).toEqual(held.map((_, index) => first + index))
    expect(head).toBe(count)
    expect(log.bytes).toBe(held.reduce((sum, { length }) => sum + length, 0))
  }
}

test('however it grows and is trimmed, a log is the newest of what was put into it', () => {
  fc.assert(fc.property(steps, play), { numRuns: runs(200) })
})
