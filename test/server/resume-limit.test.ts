import { expect, test } from 'vitest'
import { numbers, publishMany, world } from '../support/world.js'

test('6,000 behind with maxReplay 1,000: one gap of 5,000, then exactly the newest 1,000, and never again', async () => {
  await using it = await world({ hub: { maxReplay: 1_000 }, store: { maxEvents: 10_000 } })
  const cursors = await publishMany(it.hub, 's', 6_001)
  const reader = await it.read('/s', { cursor: cursors[1] })
  await reader.until(({ events }) => events.at(-1) === '6001')
  expect(reader.names.slice(0, 2)).toEqual(['stream:ready', 'stream:gap'])
  expect(reader.json('stream:gap')).toEqual({ reason: 'limit', missed: 5_000 })
  expect(reader.frames[1]?.id).toBe(cursors[5_001])
  expect(reader.events).toEqual(numbers(5_002, 6_001))

  for (let round = 1, cursor = reader.frames.at(-1)?.id; round <= 10; round++) {
    const again = await it.read('/s', { cursor })
    await it.hub.publish('s', { data: 'new' })
    await again.until(({ events }) => events.length === 1)
    expect(again.names).toEqual(['stream:ready', 'message'])
    cursor = again.frames.at(-1)?.id
    again.destroy()
  }
  expect(it.hub.stats().gaps).toBe(1)
})

test('a client cut at once after the gap resumes with the newest 1,000 and no second gap', async () => {
  await using it = await world({ hub: { maxReplay: 1_000 } })
  const cursors = await publishMany(it.hub, 's', 6_000)
  const again = await it.read('/s', { cursor: cursors[5_000] })
  await again.until(({ events }) => events.length === 1_000)
  expect(again.names).not.toContain('stream:gap')
})

test.each([
  ['exactly maxReplay behind: everything', 40, undefined, 41],
  ['one more: a gap of one', 39, { reason: 'limit', missed: 1 }, 41],
])('%s', async (_, offset, gap, next) => {
  await using it = await world({ hub: { maxReplay: 10 } })
  const cursors = await publishMany(it.hub, 's', 50)
  const reader = await it.read('/s', { cursor: cursors[offset] })
  await reader.until(({ events }) => events.at(-1) === '50')
  expect(reader.names.includes('stream:gap') ? reader.json('stream:gap') : undefined).toEqual(gap)
  expect(reader.events).toEqual(numbers(next, 50))
})

test('an expired cursor is capped by maxReplay in the same gap', async () => {
  await using it = await world({ hub: { maxReplay: 10 }, store: { maxEvents: 30 } })
  const cursors = await publishMany(it.hub, 's', 100)
  const reader = await it.read('/s', { cursor: cursors[50] })
  await reader.until(({ events }) => events.at(-1) === '100')
  expect(reader.names.filter((name) => name === 'stream:gap')).toHaveLength(1)
  expect(reader.json('stream:gap')).toEqual({ reason: 'expired', missed: 40 })
  expect(reader.frames[1]?.id).toBe(cursors[90])
  expect(reader.events).toEqual(numbers(91, 100))
})

test('a cursor of another epoch is capped by maxReplay in the same gap', async () => {
  await using it = await world({ hub: { maxReplay: 10 } })
  const cursors = await publishMany(it.hub, 's', 100)
  const reader = await it.read('/s', { cursor: 'other.5.5' })
  await reader.until(({ events }) => events.at(-1) === '100')
  expect(reader.names.filter((name) => name === 'stream:gap')).toHaveLength(1)
  expect(reader.json('stream:gap')).toEqual({ reason: 'epoch', missed: null })
  expect(reader.frames[1]?.id).toBe(cursors[90])
  expect(reader.events).toEqual(numbers(91, 100))
})

test('maxReplay 0 replays nothing and says how much that was', async () => {
  await using it = await world({ hub: { maxReplay: 0 } })
  const cursors = await publishMany(it.hub, 's', 5)
  const reader = await it.read('/s', { cursor: cursors[2] })
  await it.hub.publish('s', { data: 'new' })
  await reader.until(({ events }) => events.length === 1)
  expect(reader.json('stream:gap')).toEqual({ reason: 'limit', missed: 3 })
  expect(reader.events).toEqual(['new'])
})
