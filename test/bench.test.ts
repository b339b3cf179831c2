import { beforeAll, expect, inject, test } from 'vitest'
import { besideIdle, type Ratios, ratios } from '../bench/check.js'

/**
 * CPU for one event, as a multiple of that of `res.write`, which writes each event, and shared bytes. To record it anew,
 * on a quiet machine: `RECORD=1 npx vitest run test/bench.test.ts` prints what to write here.
 */
const RECORDED: Ratios = { flat: 0.6, fanOut: 0.8, burst: 0.055 }
/** A slide is what is above. It is measured until it is below, for what a busy machine does only ever adds. */
const MARGIN = 1.3
const TRIES = 12

const MEASURES = ['flat', 'fanOut', 'burst'] as const
const most = (key: keyof Ratios) => RECORDED[key] * MARGIN

beforeAll(() => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
})

test('what an event costs the server has not risen by 30 % against `res.write`', { timeout: 120_000 }, async () => {
  const found = await ratios(TRIES, (now) => !process.env.RECORD && MEASURES.every((key) => now[key] <= most(key)))
  console.log('CPU as a multiple of res.write:', found)
  for (const key of MEASURES) expect(found[key], key).toBeLessThanOrEqual(most(key))
})

test('an event costs no more beside 1,000 connections that are idle', { timeout: 120_000 }, async () => {
  const found = await besideIdle(TRIES, MARGIN)
  console.log('CPU beside 1,000 idle connections, as a multiple of it beside none:', found)
  expect(found).toBeLessThanOrEqual(MARGIN)
})
