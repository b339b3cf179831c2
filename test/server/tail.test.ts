import { describe, expect, test } from 'vitest'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { turns, until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

const KIB = 1024
const BLOCK = 64 * KIB

function hubOf(options: Partial<Parameters<typeof createHub>[0]> = {}) {
  return createHub({ store: memoryStore({ maxBytes: 64 * KIB * KIB }), clock: virtualClock(), ...options })
}

test('everything that is published in one turn is one write', async () => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  await Promise.all(Array.from({ length: 100 }, (_, n) => hub.publish('s', { data: String(n + 1) })))
  await turns()
  expect(sink.events).toEqual(numbers(1, 100))
  expect(sink.sizes).toHaveLength(2)
})

test.each(['x', 'ä', '€', '😀'])('a write of many frames of %j takes at most 64 KiB', async (character) => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  const torn = tornWrites(sink)
  const texts = Array.from({ length: 300 }, (_, n) => `${n} ${character.repeat(500 + n)}`)
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  await until(() => sink.events.length === texts.length)
  expect(sink.events).toEqual(texts)
  expect(Math.max(...sink.sizes)).toBeLessThanOrEqual(BLOCK)
  expect(torn).toEqual([])
  // The blocks are well filled: the least that one holds is half.
  expect(sink.sizes.length).toBeLessThanOrEqual(2 + Math.ceil((2 * sink.bytes) / BLOCK))
})

/** Notes what is no row of whole frames. */
function tornWrites(sink: ScriptedSink): string[] {
  const torn: string[] = []
  sink.onWrite = (text) => {
    if (!/^(retry|event|data|id|): /.test(text) || !text.endsWith('\n\n')) torn.push(text)
  }
  return torn
}

test('a frame that is larger than a block is a write of its own', async () => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  const texts = ['small', '€'.repeat(50_000), 'small', 'x'.repeat(100_000)]
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  await turns()
  expect(sink.events).toEqual(texts)
  expect(sink.sizes.filter((size) => size > BLOCK)).toHaveLength(2)
})

test('a reader without room is given nothing more until it drains, and then 64 KiB at a time', async () => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  sink.room = false
  for (let n = 1; n <= 100; n++) await hub.publish('s', { data: `${n} ${'x'.repeat(10 * KIB)}` })
  await turns()
  const writes = sink.sizes.length
  expect(writes).toBe(2)
  await turns(20)
  expect(sink.sizes.length).toBe(writes)
  while (sink.events.length < 100) {
    const before = sink.sizes.length
    sink.drain()
    sink.room = false
    await turns(5)
    sink.drain()
    expect(sink.sizes.length).toBeGreaterThan(before)
  }
  expect(Math.max(...sink.sizes)).toBeLessThanOrEqual(BLOCK)
})

const tricky = ['plain', '', '\n', 'a\n\nb\n', '€😀', 'x'.repeat(3_000), 'data: \n\nid: 5\n\n', ' ', ':', '\r\n\r\n']

describe.each([
  ['from the ring', 1024 * KIB],
  ['from pages', 1],
])('a reader that resumes %s', (_, ringBytes) => {
  test('at every offset inside a block gets exactly the rest', async () => {
    await using hub = hubOf({ ringBytes })
    const warm = await openOn(hub, 's')
    const texts = Array.from({ length: 60 }, (_, n) => `${tricky[n % tricky.length]}${n}`)
    const published = await hub.publish(
      's',
      texts.map((data) => ({ data, event: 'e' })),
    )
    // A second block, so that the first one can leave a small ring.
    await hub.publish('s', { data: 'last' })
    await turns()
    expect(warm.frames.length).toBe(62)
    const expected = [...texts.map((data) => data.replaceAll(/\r\n|\r/g, '\n')), 'last']
    for (const [index, { cursor }] of published.entries()) {
      const sink = new ScriptedSink()
      const torn = tornWrites(sink)
      await openOn(hub, 's', { cursor, sink })
      await until(() => sink.events.at(-1) === 'last')
      expect(sink.events).toEqual(expected.slice(index + 1))
      expect(sink.json('stream:ready').resumed).toBe('ok')
      expect(torn).toEqual([])
      sink.leave()
    }
  })
})

async function drained(sink: ScriptedSink, count: number): Promise<void> {
  while (sink.events.length < count) {
    const before = sink.events.length
    sink.drain()
    sink.room = false
    await until(() => sink.events.length > before)
  }
}

test.each([
  ['', 1024 * KIB],
  [', behind a small ring', 10 * KIB],
])('a replay of 5,000 under a slow reader is in order, once each, while more is published%s', async (_, ringBytes) => {
  await using hub = hubOf({ ringBytes, store: memoryStore() })
  await publishMany(hub, 's', 5_000)
  const slow = await openOn(hub, 's', { from: 'earliest' })
  const live = await openOn(hub, 's')
  slow.room = false
  const publishing = publishMany(hub, 's', 500, 5_001)
  await drained(slow, 5_500)
  await publishing
  await turns()
  expect(slow.events).toEqual(numbers(1, 5_500))
  expect(live.events).toEqual(numbers(5_001, 5_500))
  expect([...slow.names, ...live.names]).not.toContain('stream:gap')
})

test('a reader that falls behind retention is told, with the exact number, and goes on with what is there', async () => {
  await using hub = hubOf({ ringBytes: 1, store: memoryStore({ maxEvents: 100 }) })
  const slow = await openOn(hub, 's')
  slow.room = false
  await publishMany(hub, 's', 1)
  await turns()
  expect(slow.events).toEqual(['1'])
  for (let from = 2; from <= 1_000; from += 111) {
    await publishMany(hub, 's', 111, from)
    // A ring always holds its newest block, however small it is, and what it holds is given.
    await turns()
  }
  await publishMany(hub, 's', 100, 1_001)
  await turns()
  slow.drain()
  await until(() => slow.events.at(-1) === '1100')
  expect(slow.names.slice(0, 3)).toEqual(['stream:ready', 'message', 'stream:gap'])
  expect(slow.json('stream:gap')).toEqual({ reason: 'expired', missed: 999 })
  expect(slow.events).toEqual(['1', ...numbers(1_001, 1_100)])
  expect(hub.stats().gaps).toBe(1)
})

test('a reader that lags within retention is not cut by maxReplay, which is for those who come back', async () => {
  await using hub = hubOf({ ringBytes: 1, maxReplay: 10 })
  const slow = await openOn(hub, 's')
  slow.room = false
  await publishMany(hub, 's', 1_000)
  slow.drain()
  await until(() => slow.events.length === 1_000)
  expect(slow.names).not.toContain('stream:gap')
})

test('the ring is freed with its last reader', async () => {
  await using hub = hubOf()
  const [a, b] = [await openOn(hub, 's'), await openOn(hub, 's')]
  await publishMany(hub, 's', 10)
  await turns()
  a.leave()
  expect(hub.stats().streams).toBe(1)
  b.leave()
  expect(hub.stats().streams).toBe(0)
})
