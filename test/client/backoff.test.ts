import fc from 'fast-check'
import { expect, test } from 'vitest'
import { afterEstablished, afterFailure, afterMaxAge, clampRetry, parseRetryAfter } from '../../src/client/backoff.js'

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

test('retry is clamped to 100 ms and 60 s', () => {
  expect([0, 99, 100, 2_500, 60_000, 99_999_999_999, 1e30, Number.POSITIVE_INFINITY].map(clampRetry)).toEqual([
    100, 100, 100, 2_500, 60_000, 60_000, 60_000, 60_000,
  ])
})

test('after an established stream the wait is retry and up to a tenth more', () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 60_000 }), random, (retry, r) => {
      const ms = afterEstablished(retry, r)
      expect(ms).toBeGreaterThanOrEqual(retry)
      expect(ms).toBeLessThanOrEqual(retry * 1.1)
    }),
  )
})

test('after failure n the wait is the floor and up to 2ⁿ seconds, at most 30', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 100, max: 3_600_000 }), random, (n, floor, r) => {
      const ms = afterFailure(n, floor, r)
      expect(ms).toBeGreaterThanOrEqual(floor)
      expect(ms).toBeLessThanOrEqual(floor + Math.min(30_000, 2 ** n * 1_000))
    }),
  )
  expect(afterFailure(1, 1_000, 0.5)).toBe(2_000)
  expect(afterFailure(10, 1_000, 0.5)).toBe(16_000)
})

test('after maxAge the wait is at most 250 ms', () => {
  expect(afterMaxAge(0)).toBe(0)
  expect(afterMaxAge(0.999_999)).toBeLessThan(250)
})

test.each([
  [null, 0],
  ['', 0],
  ['soon', 0],
  ['-5', 0],
  ['0', 0],
  ['7', 7_000],
  [' 7 ', 7_000],
  ['86400', 3_600_000],
  ['9'.repeat(400), 3_600_000],
  ['Fri, 21 Nov 2025 15:47:10 GMT', 30_000],
  ['Fri, 21 Nov 2025 15:46:00 GMT', 0],
  ['Fri, 21 Nov 2098 15:46:00 GMT', 3_600_000],
])('Retry-After %j is %d ms', (value, ms) => {
  expect(parseRetryAfter(value, Date.parse('Fri, 21 Nov 2025 15:46:40 GMT'))).toBe(ms)
})
