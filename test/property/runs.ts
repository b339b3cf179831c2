import fc from 'fast-check'
import { expect } from 'vitest'
import { randomFrom } from '../../src/testing/simulate.js'

const FACTOR = Number(process.env.STEADY_RUNS ?? 1)

/** How often a property is tried: the default, multiplied by `STEADY_RUNS` for a long soak. */
export function runs(count: number): number {
  return Math.max(1, Math.round(count * FACTOR))
}

/** Time enough for a test that multiplies its runs. */
export function patience(ms: number): number {
  return Math.max(ms, ms * FACTOR)
}

/** Makes what the library draws at random a part of the schedule, so that a schedule can be replayed. */
export async function seeded<T>(seed: number, run: () => Promise<T>): Promise<T> {
  const { random } = Math
  Math.random = randomFrom(seed)
  try {
    return await run()
  } finally {
    Math.random = random
  }
}

/** Asserts that a property, in its normal number of runs, finds what is wrong with a shape that is known to be bad. */
export async function finds(property: fc.IAsyncProperty<unknown>, numRuns: number, why: RegExp): Promise<void> {
  // Not multiplied: it is the normal budget that has to suffice. The seed is fixed so that luck has no part in it.
  const { failed, errorInstance } = await fc.check(property, { numRuns, endOnFailure: true, seed: 1 })
  expect(failed, 'the shape passes the property').toBe(true)
  expect(String((errorInstance as Error | undefined)?.message)).toMatch(why)
}
