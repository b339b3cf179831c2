import { beforeEach, expect, test } from 'vitest'
import { Watchdog } from '../../src/client/watchdog.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

let clock = virtualClock()
let silences: number[] = []
let watchdog = new Watchdog(clock, () => {})
let startedAt = 0

beforeEach(() => {
  clock = virtualClock()
  silences = []
  startedAt = clock.now()
  watchdog = new Watchdog(clock, () => silences.push(clock.now() - startedAt))
  watchdog.start(1_000)
})

test('silence is reported once, after the interval', async () => {
  await clock.advance(999)
  expect(silences).toEqual([])
  await clock.advance(10_000)
  expect(silences).toEqual([1_000])
  expect(clock.pending).toBe(0)
})

test('any sign of life starts the interval anew', async () => {
  for (let i = 0; i < 10; i++) {
    await clock.advance(900)
    watchdog.touch()
  }
  expect(silences).toEqual([])
  await clock.advance(1_000)
  expect(silences).toEqual([10_000])
})

test('a flood of signs arms one timer', () => {
  for (let i = 0; i < 10_000; i++) watchdog.touch()
  expect(clock.pending).toBe(1)
})

test('a pause is not silence, and the interval is fresh behind it', async () => {
  await clock.advance(900)
  watchdog.pause()
  expect(clock.pending).toBe(0)
  await clock.advance(60_000)
  watchdog.start(1_000)
  await clock.advance(999)
  expect(silences).toEqual([])
  await clock.advance(1)
  expect(silences).toEqual([61_900])
})

test('after a sleep there is one interval of grace', async () => {
  clock.jump(60_000)
  await clock.advance(0)
  expect(silences).toEqual([])
  await clock.advance(999)
  watchdog.touch()
  await clock.advance(999)
  expect(silences).toEqual([])
  await clock.advance(1)
  expect(silences).toHaveLength(1)
})

test('the grace is given once: silence behind it counts', async () => {
  clock.jump(60_000)
  await clock.advance(1_000)
  expect(silences).toEqual([61_000])
})

test('a timer that is only a little late judges at once', async () => {
  clock.jump(1_400)
  await clock.advance(0)
  expect(silences).toEqual([1_400])
})

test('a stopped watchdog leaves no timer', () => {
  watchdog.pause()
  watchdog.pause()
  expect(clock.pending).toBe(0)
})
