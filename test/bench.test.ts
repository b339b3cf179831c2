import { beforeAll, expect, inject, test } from 'vitest'
import { type Ratios, ratios } from '../bench/check.js'

/** As recorded: CPU for one event, as a multiple of that of `res.write`, which writes each event, and shared bytes. */
const RECORDED: Ratios = { flat: 1.2, fanOut: 0.9, burst: 0.08 }
/** What a busy machine may add without a slide. The ratio of a burst is so small that it swings the most. */
const MARGIN: Ratios = { flat: 1.3, fanOut: 1.3, burst: 1.6 }

beforeAll(() => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
})

test('what an event costs the server has not risen by 30 % against `res.write`', { timeout: 120_000 }, async () => {
  const most: Ratios = {
    flat: RECORDED.flat * MARGIN.flat,
    fanOut: RECORDED.fanOut * MARGIN.fanOut,
    burst: RECORDED.burst * MARGIN.burst,
  }
  const found = await ratios(12, ({ flat, fanOut, burst }) => {
    return flat <= most.flat && fanOut <= most.fanOut && burst <= most.burst
  })
  console.log('CPU as a multiple of res.write:', found)
  expect(found.flat).toBeLessThanOrEqual(most.flat)
  expect(found.fanOut).toBeLessThanOrEqual(most.fanOut)
  expect(found.burst).toBeLessThanOrEqual(most.burst)
})
