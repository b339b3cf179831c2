import { expect, test } from 'vitest'
import type { StreamItem } from '../../src/protocol/event.js'
import { createHub, type Hub, type Subscription } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { FarStore } from '../support/stores.js'
import { turns } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

function hubOf(options: Partial<Parameters<typeof createHub>[0]> = {}) {
  return createHub({ store: memoryStore(), clock: virtualClock(), ...options })
}

async function take(subscription: AsyncIterator<StreamItem>, count: number): Promise<StreamItem[]> {
  const items: StreamItem[] = []
  while (items.length < count) {
    const result = await subscription.next()
    if (result.done) break
    items.push(result.value)
  }
  return items
}

const said = (items: readonly StreamItem[]) =>
  items.map((item) => (item.type === 'gap' ? `gap ${item.reason}` : item.data))

async function publish(hub: Hub, from: number, to: number) {
  return publishMany(hub, 's', to - from + 1, from)
}

test('what is published after it resolved is delivered', async () => {
  await using hub = hubOf()
  await publish(hub, 1, 3)
  await using subscription = await hub.subscribe('s')
  await publish(hub, 4, 6)
  expect(said(await take(subscription, 3))).toEqual(['4', '5', '6'])
})

test('an item has its cursor, its name, and its data as JSON', async () => {
  await using hub = hubOf()
  await using subscription = await hub.subscribe('s')
  const { cursor } = await hub.publish('s', { event: 'e', data: { a: 1 } })
  const [item] = await take(subscription, 1)
  expect(item).toMatchObject({ type: 'event', id: cursor, event: 'e', data: '{"a":1}' })
  expect(item?.type === 'event' && item.json()).toEqual({ a: 1 })
})

test.each([
  ['earliest', numbers(1, 5)],
  ['last:2', ['4', '5']],
] as const)('from %s it begins there', async (from, expected) => {
  await using hub = hubOf()
  await publish(hub, 1, 5)
  await using subscription = await hub.subscribe('s', { from })
  expect(said(await take(subscription, expected.length))).toEqual(expected)
})

test('a `from` of another kind is a TypeError', async () => {
  await using hub = hubOf()
  await expect(hub.subscribe('s', { from: 'sideways' as 'now' })).rejects.toThrow(/`from`/)
})

test('it continues after its cursor; one that cannot be honoured is a gap first', async () => {
  await using hub = hubOf({ store: memoryStore({ maxEvents: 3 }) })
  const cursors = await publish(hub, 1, 6)
  await using fine = await hub.subscribe('s', { cursor: cursors[4] })
  expect(said(await take(fine, 2))).toEqual(['5', '6'])
  await using late = await hub.subscribe('s', { cursor: cursors[1] })
  const [gap, ...items] = await take(late, 4)
  expect(gap).toEqual({ type: 'gap', id: cursors[3], reason: 'expired', missed: 2 })
  expect(said(items)).toEqual(['4', '5', '6'])
  await using lost = await hub.subscribe('s', { cursor: 'other.1.1' })
  expect(said(await take(lost, 4))).toEqual(['gap epoch', '4', '5', '6'])
})

test('retention that is too small for the reader is a gap, not silence', async () => {
  await using hub = hubOf({ store: memoryStore({ maxEvents: 5 }) })
  await using subscription = await hub.subscribe('s', { from: 'earliest' })
  await publish(hub, 1, 20)
  const [gap, ...items] = await take(subscription, 6)
  expect(gap).toMatchObject({ type: 'gap', reason: 'expired', missed: 15 })
  expect(said(items)).toEqual(numbers(16, 20))
})

test('the cursor moves when the next item is asked for', async () => {
  await using hub = hubOf()
  await using subscription = await hub.subscribe('s')
  const start = subscription.cursor
  const cursors = await publish(hub, 1, 2)
  await subscription.next()
  expect(subscription.cursor).toBe(start)
  await subscription.next()
  expect(subscription.cursor).toBe(cursors[1])
  await using again = await hub.subscribe('s', { cursor: subscription.cursor })
  expect(said(await take(again, 1))).toEqual(['2'])
})

test('two that ask at once get one item each, in order', async () => {
  await using hub = hubOf()
  await using subscription = await hub.subscribe('s')
  const asked = [subscription.next(), subscription.next(), subscription.next()]
  await publish(hub, 1, 3)
  expect(said((await Promise.all(asked)).flatMap((one) => one.value ?? []))).toEqual(['1', '2', '3'])
})

const endings: [string, (hub: Hub, subscription: Subscription, leaving: AbortController) => unknown][] = [
  ['the seal', (hub) => hub.seal('s')],
  ['the close of the hub', (hub) => hub.close()],
  ['its signal', (_, __, leaving) => leaving.abort()],
  ['its close', (_, subscription) => subscription.close()],
  ['its return', (_, subscription) => subscription.return?.()],
]

test.each(endings)('%s ends it while it waits, and leaves nothing', async (_, end) => {
  const clock = virtualClock()
  const hub = hubOf({ clock })
  const leaving = new AbortController()
  const subscription = await hub.subscribe('s', { signal: leaving.signal })
  const waiting = take(subscription, 1)
  await turns()
  await end(hub, subscription, leaving)
  expect(await waiting).toEqual([])
  expect(await subscription.next()).toEqual({ done: true, value: undefined })
  expect(hub.stats().streams).toBe(0)
  await hub.close()
  expect(clock.pending).toBe(0)
})

test('a seal comes after everything that was published', async () => {
  await using hub = hubOf()
  await using subscription = await hub.subscribe('s')
  await publish(hub, 1, 300)
  await hub.seal('s')
  expect(said(await take(subscription, 1_000))).toEqual(numbers(1, 300))
})

test('a loop that breaks lets go of the stream', async () => {
  await using hub = hubOf()
  await publish(hub, 1, 3)
  for await (const item of await hub.subscribe('s', { from: 'earliest' })) {
    expect(item.type).toBe('event')
    break
  }
  expect(hub.stats().streams).toBe(0)
})

test('a signal that is aborted already rejects with its reason and joins nothing', async () => {
  await using hub = hubOf()
  const reason = new Error('enough')
  await expect(hub.subscribe('s', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(hub.stats().streams).toBe(0)
})

test('a join that takes too long is JOIN_TIMEOUT, one whose signal is aborted rejects with its reason', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.stuck.add('open')
  const hub = hubOf({ store, clock, joinTimeoutMs: 1_000 })
  const late = expect(hub.subscribe('s')).rejects.toMatchObject({ code: 'JOIN_TIMEOUT' })
  const leaving = new AbortController()
  const reason = new Error('enough')
  const left = expect(hub.subscribe('s', { signal: leaving.signal })).rejects.toBe(reason)
  leaving.abort(reason)
  await left
  await clock.advance(1_000)
  await late
  expect(hub.stats().streams).toBe(0)
  expect(store.watching).toBe(0)
  await hub.close()
  expect(clock.pending).toBe(0)
})

const later = async (microtasks: number) => {
  for (let n = 0; n < microtasks; n++) await undefined
}

test('an abort or a close at every point of the join leaves no subscription behind', async () => {
  for (let point = 0; point < 30; point++) {
    for (const how of ['abort', 'close'] as const) {
      const hub = hubOf()
      const leaving = new AbortController()
      const joining = hub.subscribe('s', { signal: leaving.signal })
      const settled = joining.then(
        (subscription) => subscription.next().then(({ done }) => done),
        () => true,
      )
      await later(point)
      if (how === 'abort') leaving.abort()
      else await hub.close()
      const raced = await Promise.race([settled, turns(5).then(() => 'still open')])
      expect(raced, `${how} after ${point} microtasks`).toBe(true)
      expect(hub.stats().streams).toBe(0)
      await hub.close()
    }
  }
})

test('nothing is lost or doubled, at whichever point of the join it is published', async () => {
  for (let point = 0; point < 30; point++) {
    await using hub = hubOf()
    const { cursor } = await hub.publish('s', { data: '0' })
    const joining = hub.subscribe('s', { cursor })
    await later(point)
    await publish(hub, 1, 2)
    await using subscription = await joining
    await publish(hub, 3, 3)
    expect(said(await take(subscription, 3)), `after ${point} microtasks`).toEqual(['1', '2', '3'])
  }
})
