import { describe, expect, test } from 'vitest'
import type { HubOptions } from '../../src/server/index.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { turns } from '../support/turns.js'

const MINUTE = 60_000
const INTERVAL = 15_000

/** Many idle connections, and when each of them was sent a heartbeat, from the moment it was opened. */
async function idle(count: number, options: Partial<HubOptions> = {}) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock, ...options })
  const begin = clock.now()
  const beats: number[][] = []
  const sinks: ScriptedSink[] = []
  for (let index = 0; index < count; index++) {
    const times: number[] = []
    beats.push(times)
    const sink = new ScriptedSink()
    sinks.push(sink)
    sink.onWrite = (text) => {
      if (/^(: \d|event: stream:heartbeat\n)/.test(text)) times.push(clock.now() - begin)
    }
    await openOn(hub, 's', { sink })
  }
  const stop = async () => {
    for (const sink of sinks) sink.leave()
    await hub.close()
    expect(clock.pending).toBe(0)
  }
  return { clock, hub, beats, sinks, [Symbol.asyncDispose]: stop }
}

test('ten idle minutes are 40 to 47 heartbeats on each connection, and one timer serves them all', async () => {
  await using it = await idle(300)
  // One for the heartbeats, one for the store.
  expect(it.clock.pending).toBeLessThanOrEqual(2)
  await it.clock.advance(10 * MINUTE)
  const counts = it.beats.map(({ length }) => length)
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(40)
  expect(Math.max(...counts)).toBeLessThanOrEqual(47)
  expect(it.hub.stats().heartbeats).toBe(counts.reduce((sum, count) => sum + count, 0))
})

test('a heartbeat comes after an idle wait of 0.85 to 1 interval, and never closer than half of one', async () => {
  await using it = await idle(200)
  await it.clock.advance(10 * MINUTE)
  const waits = it.beats.flatMap((times) => times.map((time, index) => time - (times[index - 1] ?? 0)))
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(0.85 * INTERVAL)
  // Beats are gathered on ticks of a 256th of the interval.
  expect(Math.max(...waits)).toBeLessThanOrEqual(INTERVAL * (1 + 1 / 128))
})

test('a frozen hour is exactly one heartbeat, at once, and then the schedule', async () => {
  await using it = await idle(100)
  await it.clock.advance(MINUTE)
  const before = it.beats.map(({ length }) => length)
  it.clock.jump(60 * MINUTE)
  await it.clock.advance(0.8 * INTERVAL)
  for (const [index, times] of it.beats.entries()) {
    expect(times.length).toBe((before[index] ?? 0) + 1)
    expect(times.at(-1)).toBe(61 * MINUTE)
  }
  await it.clock.advance(10 * MINUTE)
  for (const [index, times] of it.beats.entries()) {
    expect(times.length - (before[index] ?? 0)).toBeGreaterThanOrEqual(40)
    expect(times.length - (before[index] ?? 0)).toBeLessThanOrEqual(49)
    const waits = times.map((time, at) => time - (times[at - 1] ?? Number.NEGATIVE_INFINITY))
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(INTERVAL / 2)
  }
})

test('no heartbeat is sent while a write is pending, and the wait starts anew at the drain', async () => {
  await using it = await idle(50, { writeTimeoutMs: 60 * MINUTE })
  for (const sink of it.sinks) sink.room = false
  await it.hub.publish('s', { data: 'x' })
  await turns()
  await it.clock.advance(5 * MINUTE)
  expect(it.beats.flat()).toEqual([])
  for (const sink of it.sinks) sink.drain()
  await it.clock.advance(0.84 * INTERVAL)
  expect(it.beats.flat()).toEqual([])
  await it.clock.advance(0.3 * INTERVAL)
  expect(it.beats.map(({ length }) => length)).toEqual(Array(50).fill(1))
})

test('a heartbeat that finds no room is a pending write: no second one follows', async () => {
  await using it = await idle(1, { writeTimeoutMs: 60 * MINUTE })
  for (const sink of it.sinks) sink.room = false
  await it.clock.advance(10 * MINUTE)
  expect(it.beats).toEqual([[expect.any(Number)]])
})

test('a stream with data needs no heartbeats', async () => {
  await using it = await idle(50)
  for (let second = 0; second < 300; second += 10) {
    await it.clock.advance(10_000)
    await it.hub.publish('s', { data: 'x' })
    await turns()
  }
  expect(it.beats.flat()).toEqual([])
  expect(it.hub.stats().heartbeats).toBe(0)
})

/** The most beats that fall into one second, as a part of all. */
function densest(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b)
  let most = 0
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while ((sorted[to] ?? 0) - (sorted[from] ?? 0) >= 1_000) from++
    most = Math.max(most, to - from + 1)
  }
  return most / sorted.length
}

describe.each([1, 2, 3])('a crowd of 1,000 that arrived together (%i)', () => {
  test('disperses: 60 % of the first round in one second at most, 20 % from the tenth on', async () => {
    await using it = await idle(1_000)
    await it.clock.advance(4 * MINUTE)
    const round = (n: number) => it.beats.map((times) => times[n] ?? 0)
    expect(densest(round(0))).toBeLessThanOrEqual(0.6)
    for (let n = 9; n < 14; n++) expect(densest(round(n)), `round ${n + 1}`).toBeLessThanOrEqual(0.2)
  })
})

test('with heartbeatAs event a heartbeat is a named event without an id, and carries the time', async () => {
  await using it = await idle(1, { heartbeatAs: 'event', heartbeatMs: 1_000 })
  await it.clock.advance(1_100)
  const [sink] = it.sinks
  expect(sink?.names).toEqual(['stream:ready', 'stream:heartbeat'])
  expect(sink?.frames[1]).toMatchObject({ id: undefined, data: expect.stringMatching(/^\d{13}$/) })
  expect(sink?.comments).toEqual([])
})

test('as a comment a heartbeat is no event, and carries the time', async () => {
  await using it = await idle(1, { heartbeatMs: 1_000 })
  await it.clock.advance(1_100)
  const [sink] = it.sinks
  expect(sink?.names).toEqual(['stream:ready'])
  expect(sink?.comments).toEqual([expect.stringMatching(/^\d{13}$/)])
})

test('a connection that ends takes its heartbeat with it', async () => {
  await using it = await idle(2)
  it.sinks[0]?.leave()
  await it.clock.advance(MINUTE)
  expect(it.beats[0]).toEqual([])
  expect(it.beats[1]).not.toEqual([])
})
