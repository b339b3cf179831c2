import { expect, test } from 'vitest'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { type MemoryStoreOptions, memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn } from '../support/sink.js'
import { turns } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

function setUp(options: MemoryStoreOptions = {}, given: Partial<HubOptions> = {}) {
  const clock = virtualClock()
  const store = memoryStore(options)
  const hub = createHub({ store, clock, ...given })
  return { clock, store, hub, [Symbol.asyncDispose]: () => hub.close() }
}

async function kept(hub: Hub, stream = 's'): Promise<string[]> {
  const { items } = await hub.read(stream, { limit: Number.POSITIVE_INFINITY })
  return items.map((item) => (item.type === 'event' ? item.data : item.reason))
}

test('maxEvents keeps the newest', async () => {
  await using it = setUp({ maxEvents: 100 })
  await publishMany(it.hub, 's', 100)
  expect(await kept(it.hub)).toEqual(numbers(1, 100))
  await publishMany(it.hub, 's', 1_000, 101)
  expect(await kept(it.hub)).toEqual(numbers(1_001, 1_100))
})

test('maxBytes keeps the newest, counted in bytes of UTF-8', async () => {
  await using it = setUp({ maxBytes: 1_000 })
  for (let n = 0; n < 10; n++) await it.hub.publish('s', { data: String(n).padEnd(100) })
  expect(await kept(it.hub)).toHaveLength(10)
  await it.hub.publish('s', { data: 'ä'.repeat(50) })
  expect(await kept(it.hub)).toHaveLength(10)
  await it.hub.publish('s', { data: '', event: 'n'.repeat(250) })
  expect(await kept(it.hub)).toHaveLength(8)
})

test('maxAgeMs forgets what is old, when it is asked for and when nobody asks', async () => {
  await using it = setUp({ maxAgeMs: 60_000 })
  await publishMany(it.hub, 's', 3)
  await it.clock.advance(30_000)
  await publishMany(it.hub, 's', 2, 4)
  await it.clock.advance(29_999)
  expect(await kept(it.hub)).toEqual(numbers(1, 5))
  await it.clock.advance(1)
  expect(await kept(it.hub)).toEqual(['4', '5'])
  await it.clock.advance(100_000)
  expect(await kept(it.hub)).toEqual([])
  // Nothing is kept, so nothing is looked after.
  expect(it.clock.pending).toBe(0)
})

test('maxTotalBytes takes from the stream that was longest unused', async () => {
  await using it = setUp({ maxTotalBytes: 3_000 })
  const event = { data: 'x'.repeat(100) }
  for (const stream of ['a', 'b', 'c']) for (let n = 0; n < 10; n++) await it.hub.publish(stream, event)
  await it.hub.publish('a', event)
  const counts = await Promise.all(['a', 'b', 'c'].map(async (stream) => (await kept(it.hub, stream)).length))
  expect(counts).toEqual([11, 0, 10])
})

test('maxTotalBytes counts what is held, whatever was read or published in between', async () => {
  await using it = setUp({ maxTotalBytes: 1_000 })
  for (let n = 0; n < 10; n++) {
    for (const stream of n % 2 ? ['a', 'b'] : ['b', 'a']) {
      await it.hub.publish(stream, { data: 'ä'.repeat(25) })
      await kept(it.hub, stream)
    }
  }
  expect([await kept(it.hub, 'a'), await kept(it.hub, 'b')].map(({ length }) => length)).toEqual([10, 10])
  await it.hub.publish('c', { data: 'x' })
  expect((await kept(it.hub, 'a')).length + (await kept(it.hub, 'b')).length).toBe(10)
})

test('offsets are dense and never used twice, whatever is trimmed', async () => {
  await using it = setUp({ maxEvents: 3, maxAgeMs: 1_000 })
  await publishMany(it.hub, 's', 10)
  await it.clock.advance(1_000)
  await publishMany(it.hub, 's', 1, 11)
  const page = await it.store.read('s', 0, { limit: 10 })
  expect(page).toMatchObject({ first: 11, head: 11, events: [{ offset: 11, data: '11' }] })
})

test('the tags of first−1 and of the head are kept when their events are gone', async () => {
  await using it = setUp({ maxEvents: 3, maxAgeMs: 1_000 })
  const places = []
  for (let n = 1; n <= 5; n++) {
    const [place] = await it.store.append('s', [{ event: undefined, data: String(n), key: undefined }])
    places[n] = place
  }
  expect(await it.store.read('s', 2, { limit: 0 })).toMatchObject({
    first: 3,
    firstTag: places[2]?.tag,
    tag: places[2]?.tag,
  })
  expect(await it.store.read('s', 1, { limit: 0 })).toMatchObject({ tag: undefined })
  await it.clock.advance(1_000)
  const tag = places[5]?.tag
  expect(await it.store.read('s', 5, { limit: 0 })).toMatchObject({
    first: 6,
    firstTag: tag,
    head: 5,
    headTag: tag,
    tag,
  })
  expect(await it.store.read('s', 6, { limit: 0 })).toMatchObject({ tag: undefined })
})

test('a page is bounded by its limit and by bytes, but holds one event at least', async () => {
  await using it = setUp()
  for (let n = 0; n < 10; n++) await it.hub.publish('s', { data: String(n).padEnd(100) })
  const pageOf = async (limit: number, maxBytes?: number) =>
    (await it.store.read('s', 4, { limit, maxBytes }))?.events.map(({ offset }) => offset)
  expect(await pageOf(3)).toEqual([5, 6, 7])
  expect(await pageOf(10, 250)).toEqual([5, 6])
  expect(await pageOf(10, 5)).toEqual([5])
  expect(await pageOf(0)).toEqual([])
})

test('a key is remembered as long as its event is retained, and forgotten after', async () => {
  await using it = setUp({ maxEvents: 3 })
  const publish = () => it.hub.publish('s', { data: 'x', key: 'k' })
  const first = await publish()
  expect(first.duplicate).toBe(false)
  expect(await publish()).toEqual({ cursor: first.cursor, duplicate: true })
  await publishMany(it.hub, 's', 2)
  expect((await publish()).duplicate).toBe(true)
  await publishMany(it.hub, 's', 1)
  const anew = await publish()
  expect(anew.duplicate).toBe(false)
  expect(anew.cursor).not.toBe(first.cursor)
})

test('a key belongs to its stream', async () => {
  await using it = setUp()
  await it.hub.publish('a', { data: 'x', key: 'k' })
  expect((await it.hub.publish('b', { data: 'x', key: 'k' })).duplicate).toBe(false)
})

test('a stream that is joined before anything is published has its record then', async () => {
  await using it = setUp()
  expect(await it.store.read('s', 0, { limit: 1 })).toBeNull()
  const sink = await openOn(it.hub, 's')
  const { epoch } = await it.store.open('s')
  expect(sink.frames[0]?.id).toBe(`${epoch}.0.0`)
})

test('beyond maxStreams the stream that was longest unused is dropped; its cursors are of another epoch', async () => {
  await using it = setUp({}, { maxStreams: 3 })
  const { cursor } = await it.hub.publish('a', { data: '1' })
  await it.hub.publish('b', { data: '1' })
  await it.hub.publish('c', { data: '1' })
  await it.hub.publish('d', { data: '1' })
  expect(await Promise.all(['b', 'c', 'd'].map((stream) => it.store.read(stream, 0, { limit: 0 })))).not.toContain(null)
  expect(await it.store.read('a', 0, { limit: 0 })).toBeNull()
  const sink = await openOn(it.hub, 'a', { cursor })
  expect(sink.json('stream:gap')).toEqual({ reason: 'epoch', missed: null })
})

test('a stream with a reader is never dropped', async () => {
  await using it = setUp({}, { maxStreams: 2 })
  const sink = await openOn(it.hub, 'read')
  for (let n = 0; n < 10; n++) await it.hub.publish(`other ${n}`, { data: 'x' })
  await it.hub.publish('read', { data: '1' })
  await turns()
  expect(sink.names).toEqual(['stream:ready', 'message'])
})

test('when all streams have readers, one more is OVERLOADED: publish, join, and seal', async () => {
  await using it = setUp({}, { maxStreams: 2 })
  const [a] = [await openOn(it.hub, 'a'), await openOn(it.hub, 'b')]
  const overloaded = { code: 'OVERLOADED' }
  await expect(it.hub.publish('c', { data: 'x' })).rejects.toMatchObject(overloaded)
  await expect(openOn(it.hub, 'c')).rejects.toMatchObject(overloaded)
  await expect(it.hub.subscribe('c')).rejects.toMatchObject(overloaded)
  await expect(it.hub.seal('c')).rejects.toMatchObject(overloaded)
  await openOn(it.hub, 'a')
  await it.hub.publish('a', { data: 'x' })
  a.leave()
  expect(it.hub.stats().streams).toBe(2)
})

test('two hubs may share a store: what one publishes, readers of the other get in order', async () => {
  const clock = virtualClock()
  const store = memoryStore()
  await using one = createHub({ store, clock })
  await using two = createHub({ store, clock })
  const sink = await openOn(two, 's')
  const expected: string[] = []
  for (let n = 1; n <= 100; n++) {
    await (n % 3 === 0 ? two : one).publish('s', { data: String(n) })
    expected.push(String(n))
    if (n % 7 === 0) await turns()
  }
  await turns()
  expect(sink.events).toEqual(expected)
  await one.close()
  await two.publish('s', { data: 'still there' })
  await turns()
  expect(sink.events.at(-1)).toBe('still there')
})

test('5,000 streams that nobody listens to hold nothing in the hub, and little in the store', async () => {
  await using it = setUp({ maxAgeMs: 60_000 })
  for (let n = 0; n < 5_000; n++) await it.hub.publish(`stream ${n}`, { data: 'x'.repeat(1_000) })
  expect(it.hub.stats()).toMatchObject({ streams: 0, connections: 0 })
  await it.clock.advance(60_000 * 1.5)
  const page = await it.store.read('stream 0', 0, { limit: 1 })
  expect(page).toMatchObject({ first: 2, head: 1, events: [] })
  expect(it.clock.pending).toBe(0)
})

test('the options of a store are checked', () => {
  for (const wrong of [{ maxEvents: 0 }, { maxBytes: 1.5 }, { maxAgeMs: 0 }, { maxTotalBytes: -1 }]) {
    const [name = ''] = Object.keys(wrong)
    expect(() => memoryStore(wrong)).toThrow(TypeError)
    expect(() => memoryStore(wrong)).toThrow(`\`${name}\``)
  }
})

test('an event has the time of the hub that attached last, also within the turn in which it did', async () => {
  const store = memoryStore({ maxAgeMs: 1_000 })
  const clock = virtualClock()
  await using earlier = createHub({ store })
  const before = earlier.publish('s', { data: 'by the clock of the system' })
  await using hub = createHub({ store, clock })
  const after = hub.publish('t', { data: 'by a clock of its own' })
  await Promise.all([before, after])
  await clock.advance(1_001)
  expect((await hub.read('t')).items).toEqual([])
})

test('to publish in turn to two streams costs no more beside 20,000 others', async () => {
  const elapsed = async (others: number) => {
    await using it = setUp({}, { maxStreams: 30_000 })
    for (let n = 0; n < others; n++) await it.hub.publish(`other ${n}`, { data: '' })
    let least = Number.POSITIVE_INFINITY
    for (let round = 0; round < 3; round++) {
      const begun = performance.now()
      for (let n = 0; n < 10_000; n++) await it.hub.publish(n % 2 ? 'a' : 'b', { data: '' })
      least = Math.min(least, performance.now() - begun)
    }
    return least
  }
  // Once it was 20 times as much and more.
  expect((await elapsed(20_000)) / (await elapsed(0))).toBeLessThan(6)
})
