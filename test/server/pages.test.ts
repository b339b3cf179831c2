import { expect, test } from 'vitest'
import { createHub } from '../../src/server/index.js'
import { PAGE_EVENTS } from '../../src/server/pages.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn } from '../support/sink.js'
import { FarStore } from '../support/stores.js'
import { until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

// Pages of history are remembered for those who come a little later. What they say of the rest of the
// stream is then a little old, and must not be taken for the present.

test('a remembered page whose neighbours are trimmed does not hold up a client beyond maxReplay', async () => {
  const clock = virtualClock()
  await using hub = createHub({ store: memoryStore({ maxEvents: 400 }), maxReplay: 100, ringBytes: 1, clock })
  const cursors = await publishMany(hub, 's', 300)
  const first = await openOn(hub, 's', { from: 'earliest' })
  await until(() => first.events.length === 300)
  await publishMany(hub, 's', 700, 301)
  const second = await openOn(hub, 's', { cursor: cursors[10] })
  await until(() => second.events.length === 100)
  expect(second.names.slice(0, 2)).toEqual(['stream:ready', 'stream:gap'])
  expect(second.json('stream:gap').missed).toBe(890)
  expect(second.events).toEqual(numbers(901, 1_000))
})

const LARGE = 'x'.repeat(64 * 1024)
const large = (n: number) => ({ data: `${n} ${LARGE}` })
const numbersOf = (events: readonly string[]) => events.map((data) => data.slice(0, data.indexOf(' ')))

test('a remembered page that stopped short, because its events are large, is not taken for the head', async () => {
  const clock = virtualClock()
  await using hub = createHub({ store: memoryStore({ maxBytes: 64 * 1024 * 1024 }), ringBytes: 1, clock })
  const cursors: string[] = []
  for (let n = 1; n <= 10; n++) cursors[n] = (await hub.publish('s', large(n))).cursor
  const first = await openOn(hub, 's', { from: 'earliest' })
  await until(() => first.events.length === 10)
  for (let n = 11; n <= 30; n++) cursors[n] = (await hub.publish('s', large(n))).cursor
  for (const offset of [9, 10, 11, 20, 29]) {
    const later = await openOn(hub, 's', { cursor: cursors[offset] })
    await until(() => later.events.length >= 30 - offset)
    expect(later.names, `from ${offset}`).not.toContain('stream:gap')
    expect(numbersOf(later.events)).toEqual(numbers(offset + 1, 30))
    later.leave()
  }
})

test('large events reach a slow reader in order, once each, page by page', async () => {
  const clock = virtualClock()
  await using hub = createHub({ store: memoryStore({ maxBytes: 64 * 1024 * 1024 }), ringBytes: 1, clock })
  const slow = await openOn(hub, 's')
  slow.room = false
  for (let n = 1; n <= 40; n++) await hub.publish('s', large(n))
  while (slow.events.length < 40) {
    const before = slow.events.length
    slow.drain()
    slow.room = false
    await until(() => slow.events.length > before)
  }
  expect(slow.names).not.toContain('stream:gap')
  expect(numbersOf(slow.events)).toEqual(numbers(1, 40))
})

test.each([
  ['1,000 clients, from as many places', { clients: 1_000, behind: 2_000 }],
  ['10,000 clients that were away for a moment', { clients: 10_000, behind: 20 }],
])(
  '%s, that resume one stream at once cost the pages of its log and ten reads more',
  async (_, crowd) => {
    const EVENTS = 2_000
    const { clients, behind } = crowd
    const clock = virtualClock()
    const inner = memoryStore()
    await using before = createHub({ store: inner, clock })
    const published = await before.publish(
      's',
      numbers(1, EVENTS).map((data) => ({ data })),
    )
    const store = new FarStore(inner, clock)
    store.delayMs = 2
    await using hub = createHub({ store, clock })
    // From the 1st place of those behind to the one before the last.
    const place = (n: number) => EVENTS - behind + Math.floor((n * (behind - 1)) / clients)
    const opening = Promise.all(
      Array.from({ length: clients }, (_unused, n) => openOn(hub, 's', { cursor: published[place(n)]?.cursor })),
    )
    await clock.advance(1_000)
    const sinks = await opening
    await clock.advance(1_000)
    for (const [n, sink] of sinks.entries()) {
      await until(() => sink.events.length >= EVENTS - place(n) - 1)
      expect(sink.names).not.toContain('stream:gap')
      expect(sink.events).toEqual(numbers(place(n) + 2, EVENTS))
    }
    expect(store.calls.read + store.calls.open).toBeLessThanOrEqual(Math.ceil(EVENTS / PAGE_EVENTS) + 10)
  },
  60_000,
)

test('clients that come back one after another share the page at the head, until the stream moves', async () => {
  const clock = virtualClock()
  const inner = memoryStore()
  await using before = createHub({ store: inner, clock })
  const [first] = await before.publish(
    's',
    numbers(1, 100).map((data) => ({ data })),
  )
  const store = new FarStore(inner, clock)
  await using hub = createHub({ store, clock })
  const comesBack = async (count: number) => {
    const sink = await openOn(hub, 's', { cursor: first?.cursor })
    await until(() => sink.events.length === count)
    sink.leave()
  }
  // Somebody stays, so that the stream is followed.
  await openOn(hub, 's')
  for (let n = 0; n < 200; n++) await comesBack(99)
  expect(store.calls.read).toBeLessThanOrEqual(3)
  await hub.publish('s', { data: '101' })
  for (let n = 0; n < 200; n++) await comesBack(100)
  expect(store.calls.read).toBeLessThanOrEqual(6)
})
