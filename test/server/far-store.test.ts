import { expect, test } from 'vitest'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn, type ScriptedSink } from '../support/sink.js'
import { FarStore } from '../support/stores.js'
import { turns } from '../support/turns.js'
import { numbers } from '../support/world.js'

function setUp(options: Partial<Parameters<typeof createHub>[0]> = {}) {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  const hub = createHub({ store, clock, ...options })
  // Another process, which shares the store and nothing else.
  const elsewhere = createHub({ store: store.inner, clock })
  return {
    clock,
    store,
    hub,
    elsewhere,
    async [Symbol.asyncDispose]() {
      store.fails = () => false
      await Promise.all([hub.close(), elsewhere.close()])
      await clock.advance(1_000)
      expect(clock.pending).toBe(0)
    },
  }
}

async function joined(it: ReturnType<typeof setUp>, request?: Parameters<typeof openOn>[2]): Promise<ScriptedSink> {
  const opening = openOn(it.hub, 's', request)
  await it.clock.advance(1_000)
  return opening
}

test('what is published elsewhere arrives in order', async () => {
  await using it = setUp()
  it.store.delayMs = 40
  const sink = await joined(it)
  for (let n = 1; n <= 50; n++) {
    await it.elsewhere.publish('s', { data: String(n) })
    if (n % 10 === 0) await it.clock.advance(15)
  }
  await it.clock.advance(1_000)
  expect(sink.events).toEqual(numbers(1, 50))
})

test('what is published elsewhere at any moment of a join is either before the place it starts from, or delivered', async () => {
  for (let moment = 0; moment <= 160; moment += 5) {
    await using it = setUp()
    it.store.delayMs = 40
    const opening = openOn(it.hub, 's')
    await it.clock.advance(moment)
    const { cursor } = await it.elsewhere.publish('s', { data: 'x' })
    await it.clock.advance(1_000)
    const { frames, events } = await opening
    if (frames[0]?.id === cursor) expect(events, `after ${moment} ms`).toEqual([])
    else expect(events, `after ${moment} ms`).toEqual(['x'])
  }
})

test('what is published here and elsewhere at once arrives in the order of the store', async () => {
  await using it = setUp()
  const sink = await joined(it)
  it.store.delayMs = 40
  const here = Promise.all(Array.from({ length: 50 }, (_, n) => it.hub.publish('s', { data: `here ${n}` })))
  for (let n = 0; n < 50; n++) {
    await it.elsewhere.publish('s', { data: `elsewhere ${n}` })
    await it.clock.advance(3)
  }
  await it.clock.advance(1_000)
  await here
  const page = await it.store.inner.read('s', 0, { limit: 1_000 })
  expect(sink.events).toEqual(page?.events.map(({ data }) => data))
  expect(sink.events).toHaveLength(100)
  expect(sink.names).not.toContain('stream:gap')
})

test('reads that fail for a while lose nothing: the readers stay, and go on when the store is back', async () => {
  await using it = setUp({ ringBytes: 1 })
  const live = await joined(it)
  const slow = await joined(it)
  slow.room = false
  await it.hub.publish('s', { data: '1' })
  await turns()
  it.store.fails = (verb) => verb === 'read'
  for (let n = 2; n <= 10; n++) {
    await it.elsewhere.publish('s', { data: String(n) })
    await it.clock.advance(1_000)
  }
  slow.drain()
  await it.clock.advance(10_000)
  expect(live.events).toEqual(['1'])
  it.store.fails = () => false
  await it.clock.advance(10_000)
  expect(live.events).toEqual(numbers(1, 10))
  expect(slow.events).toEqual(numbers(1, 10))
  expect(it.hub.stats()).toMatchObject({ connections: 2, gaps: 0 })
})

test('readers whose page could not be read go on when the store is back, though nothing new is published', async () => {
  await using it = setUp({ ringBytes: 1 })
  const slow = await joined(it)
  slow.room = false
  const subscribing = it.hub.subscribe('s')
  await it.clock.advance(1_000)
  const subscription = await subscribing
  for (let n = 1; n <= 10; n++) {
    await it.hub.publish('s', { data: String(n) })
    await turns()
  }
  it.store.fails = (verb) => verb === 'read'
  slow.drain()
  const next = subscription.next()
  await it.clock.advance(5_000)
  expect(slow.events).toEqual(['1'])
  it.store.fails = () => false
  await it.clock.advance(2_000)
  expect(slow.events).toEqual(numbers(1, 10))
  expect((await next).value).toMatchObject({ data: '1' })
})

test('a store that is away is not asked in a hot loop', async () => {
  await using it = setUp()
  await joined(it)
  it.store.fails = () => true
  await it.elsewhere.publish('s', { data: '1' })
  const before = it.store.calls.read
  await it.clock.advance(60_000)
  expect(it.store.calls.read - before).toBeLessThanOrEqual(121)
})

test('hints that are all lost are made up for by looking, with pollMs', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.pollMs = 1_000
  store.hints = () => false
  await using hub = createHub({ store, clock })
  await using elsewhere = createHub({ store: store.inner, clock })
  const sink = await openOn(hub, 's')
  for (let n = 1; n <= 20; n++) {
    await elsewhere.publish('s', { data: String(n) })
    await clock.advance(1_000)
  }
  await clock.advance(10_000)
  expect(sink.events).toEqual(numbers(1, 20))
  const before = store.calls.read
  await clock.advance(600_000)
  // A quiet stream is looked at ever less often, down to once in ten seconds.
  expect(store.calls.read - before).toBeLessThanOrEqual(70)
  sink.leave()
  await hub.close()
  await elsewhere.close()
  expect(clock.pending).toBe(0)
})

test('a seal elsewhere reaches the readers here, after the rest', async () => {
  await using it = setUp()
  it.store.delayMs = 40
  const sink = await joined(it)
  await it.elsewhere.publish('s', { data: '1' })
  await it.elsewhere.seal('s')
  await it.clock.advance(1_000)
  expect(sink.names).toEqual(['stream:ready', 'message', 'stream:end'])
})

test('a record that no frame can carry, written by someone else, is a gap of one for every reader', async () => {
  await using it = setUp()
  const sink = await joined(it)
  await it.store.inner.append('s', [
    { event: undefined, data: '1', key: undefined },
    { event: 'a\nb', data: '2', key: undefined },
    { event: undefined, data: '3', key: undefined },
  ])
  await it.clock.advance(1_000)
  expect(sink.names).toEqual(['stream:ready', 'message', 'stream:gap', 'message'])
  expect(sink.json('stream:gap')).toEqual({ reason: 'source', missed: 1 })
})

test('many readers behind the ring share the pages they need', async () => {
  await using it = setUp({ ringBytes: 1 })
  for (let n = 1; n <= 1_000; n++) await it.elsewhere.publish('s', { data: String(n) })
  it.store.delayMs = 10
  const sinks = await Promise.all(Array.from({ length: 50 }, () => joined(it, { from: 'earliest' })))
  const before = it.store.calls.read
  await it.clock.advance(5_000)
  for (const sink of sinks) expect(sink.events).toEqual(numbers(1, 1_000))
  expect(before).toBeLessThan(200)
})
