import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bounds, hubCrowded } from './bounds.js'
import { patience, runs } from './runs.js'

test('no mix of slow and stalled readers makes a connection hold more than its high-water mark and one block', {
  timeout: patience(60_000),
}, async () => {
  await fc.assert(bounds(hubCrowded), { numRuns: runs(60) })
})

test('100 connections, half of them stalled, hold what the formula says, while 64 MiB are published', {
  timeout: 120_000,
}, async () => {
  const script = 'test/support/heap-of-a-crowd.ts'
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', script, '64'])
  const { most, bound } = JSON.parse(stdout) as { most: number; bound: number }
  console.log(`bounds: ${(most / 2 ** 20).toFixed(1)} MiB held, the bound is ${(bound / 2 ** 20).toFixed(1)} MiB`)
  expect(most).toBeLessThanOrEqual(bound)
})

test('an idle connection of a hub keeps at most 600 bytes of heap more than a bare response of Node', {
  timeout: 60_000,
}, async () => {
  const script = 'test/support/heap-of-idle.ts'
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', script])
  const { ofNode, ofHub } = JSON.parse(stdout) as { ofNode: number; ofHub: number }
  console.log(`idle: ${Math.round(ofHub - ofNode)} bytes more than a bare response`)
  expect(ofHub - ofNode).toBeLessThanOrEqual(600)
})
