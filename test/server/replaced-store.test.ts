import { expect, test } from 'vitest'
import { createHub, type Hub } from '../../src/server/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { ArrayStore } from '../support/array-store.js'
import { openOn, type ScriptedSink } from '../support/sink.js'
import { turns } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

// The store is replaced underneath a hub: by an empty one, by an older copy of itself, by a copy that went on
// differently. Whoever reads is told before it is given anything of the new.

function setUp(options: { ringBytes?: number } = {}) {
  const clock = virtualClock()
  const store = new ArrayStore()
  const hub = createHub({ store, clock, ...options })
  return { clock, store, hub, [Symbol.asyncDispose]: () => hub.close() }
}

/** What was said since `from` frames. */
function since(sink: ScriptedSink, from: number): string[] {
  return sink.frames
    .slice(from)
    .map(({ event, data }) => (event === 'stream:gap' ? `gap ${JSON.parse(data).reason}` : data))
}

async function readerAt(hub: Hub, count: number): Promise<ScriptedSink> {
  const sink = await openOn(hub, 's', { from: 'earliest' })
  await turns()
  expect(sink.events).toHaveLength(count)
  return sink
}

test('a store that is wiped is a gap `epoch` on the open connection, at the next look and before anything else', async () => {
  await using it = setUp()
  await publishMany(it.hub, 's', 5)
  const sink = await readerAt(it.hub, 5)
  it.store.restore(undefined)
  await it.clock.advance(1_000)
  expect(since(sink, 6)).toEqual(['gap epoch'])
  await publishMany(it.hub, 's', 2)
  await turns()
  expect(since(sink, 6)).toEqual(['gap epoch', '1', '2'])
  expect(sink.json('stream:gap').missed).toBeNull()
  expect(it.hub.stats().gaps).toBe(1)
})

test('a store that is wiped and written to again gives the gap, then the new log from its first event', async () => {
  await using it = setUp()
  await publishMany(it.hub, 's', 5)
  const sink = await readerAt(it.hub, 5)
  it.store.restore(undefined)
  await publishMany(it.hub, 's', 3)
  await turns(10)
  expect(since(sink, 6)).toEqual(['gap epoch', '1', '2', '3'])
})

test('an older copy is a gap `ahead`, then what is written to it', async () => {
  await using it = setUp()
  await publishMany(it.hub, 's', 5)
  const { copy } = it.store
  await publishMany(it.hub, 's', 5, 6)
  const sink = await readerAt(it.hub, 10)
  it.store.restore(copy)
  await it.clock.advance(1_000)
  expect(since(sink, 11)).toEqual(['gap ahead'])
  await it.hub.publish('s', { data: 'anew' })
  await turns(10)
  expect(since(sink, 11)).toEqual(['gap ahead', 'anew'])
})

test('an older copy that was written to, to the same length, is a gap `diverged`', async () => {
  await using it = setUp()
  await publishMany(it.hub, 's', 5)
  const { copy } = it.store
  await publishMany(it.hub, 's', 5, 6)
  const sink = await readerAt(it.hub, 10)
  it.store.restore(copy)
  await it.store.append(
    's',
    numbers(106, 110).map((data) => ({ event: undefined, data, key: undefined })),
  )
  await turns(10)
  expect(since(sink, 11)).toEqual(['gap diverged'])
  await it.hub.publish('s', { data: 'anew' })
  await turns(10)
  expect(since(sink, 11)).toEqual(['gap diverged', 'anew'])
})

test('a publish that lands on an older copy at the next offset is not taken for a continuation', async () => {
  await using it = setUp()
  await publishMany(it.hub, 's', 5)
  const { copy } = it.store
  await publishMany(it.hub, 's', 1, 6)
  const sink = await readerAt(it.hub, 6)
  it.store.restore(copy)
  // Offset 6 again, with another tag, and then offset 7: what the reader would wait for.
  await publishMany(it.hub, 's', 2, 106)
  await turns(10)
  expect(since(sink, 7)[0]).toBe('gap diverged')
  await it.hub.publish('s', { data: 'anew' })
  await turns(10)
  expect(since(sink, 7).at(-1)).toBe('anew')
  expect(since(sink, 7).filter((one) => one.startsWith('gap'))).toHaveLength(1)
})

test('a reader that is behind finds out from its page', async () => {
  await using it = setUp({ ringBytes: 1 })
  const sink = await openOn(it.hub, 's')
  sink.room = false
  await publishMany(it.hub, 's', 5)
  await turns()
  const given = sink.frames.length
  it.store.restore(undefined)
  await publishMany(it.hub, 's', 3)
  sink.drain()
  await turns(20)
  expect(since(sink, given)).toEqual(['gap epoch', '1', '2', '3'])
})

test('a subscription is told too', async () => {
  await using it = setUp()
  const subscription = await it.hub.subscribe('s')
  await publishMany(it.hub, 's', 2)
  expect([(await subscription.next()).value, (await subscription.next()).value]).toMatchObject([
    { data: '1' },
    { data: '2' },
  ])
  it.store.restore(undefined)
  await publishMany(it.hub, 's', 1)
  const next = subscription.next()
  await it.clock.advance(1_000)
  expect((await next).value).toMatchObject({ type: 'gap', reason: 'epoch', missed: null })
  expect((await subscription.next()).value).toMatchObject({ type: 'event', data: '1' })
})

test('cursors of the old log are judged by the new one, on a hub that knew the old', async () => {
  await using it = setUp()
  const cursors = await publishMany(it.hub, 's', 5)
  const { copy } = it.store
  await publishMany(it.hub, 's', 5, 6)
  const open = await readerAt(it.hub, 10)
  it.store.restore(copy)
  const anew = await publishMany(it.hub, 's', 5, 106)
  await turns(10)
  const fine = await openOn(it.hub, 's', { cursor: cursors[3] })
  const newer = await openOn(it.hub, 's', { cursor: anew[108] })
  const diverged = await openOn(it.hub, 's', { cursor: open.frames[8]?.id })
  await turns(10)
  expect(since(fine, 1)).toEqual(['4', '5', ...numbers(106, 110)])
  expect(since(newer, 1)).toEqual(['109', '110'])
  expect(since(diverged, 1)).toEqual(['gap diverged'])
})

test('remembered pages of the old log are not taken for the new one', async () => {
  await using it = setUp({ ringBytes: 1 })
  await publishMany(it.hub, 's', 100)
  const { copy } = it.store
  await publishMany(it.hub, 's', 500, 101)
  const open = await openOn(it.hub, 's', { from: 'earliest' })
  await turns(10)
  expect(open.events).toHaveLength(600)
  it.store.restore(copy)
  const anew = await publishMany(it.hub, 's', 500, 1_101)
  await turns(10)
  const fine = await openOn(it.hub, 's', { cursor: anew[1_150] })
  await turns(10)
  expect(since(fine, 1)).toEqual(numbers(1_151, 1_600))
})
