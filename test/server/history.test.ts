import { expect, test } from 'vitest'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { numbers, publishMany } from '../support/world.js'

async function historyOf(count: number, options: Parameters<typeof memoryStore>[0] = {}) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(options), clock })
  const cursors = await publishMany(hub, 's', count)
  return { clock, hub, cursors, [Symbol.asyncDispose]: () => hub.close() }
}

type Page = Awaited<ReturnType<ReturnType<typeof createHub>['read']>>
const said = ({ items }: Page) =>
  items.map((item) => (item.type === 'gap' ? `gap ${item.reason} ${item.missed}` : item.data))

test('the newest page is the default, of a hundred', async () => {
  await using it = await historyOf(250)
  const page = await it.hub.read('s')
  expect(said(page)).toEqual(numbers(151, 250))
  expect(page).toMatchObject({ first: it.cursors[1], head: it.cursors[250] })
})

test('limit bounds the page, and may be more than there is', async () => {
  await using it = await historyOf(10)
  expect(said(await it.hub.read('s', { limit: 3 }))).toEqual(['8', '9', '10'])
  expect(said(await it.hub.read('s', { limit: 1_000 }))).toEqual(numbers(1, 10))
  expect(said(await it.hub.read('s', { limit: Number.POSITIVE_INFINITY }))).toEqual(numbers(1, 10))
})

test('after gives the oldest events after a cursor', async () => {
  await using it = await historyOf(10)
  expect(said(await it.hub.read('s', { after: it.cursors[4], limit: 3 }))).toEqual(['5', '6', '7'])
  expect(said(await it.hub.read('s', { after: it.cursors[9] }))).toEqual(['10'])
  expect(said(await it.hub.read('s', { after: it.cursors[10] }))).toEqual([])
})

test('before gives the newest events before a cursor, down to the first', async () => {
  await using it = await historyOf(10)
  expect(said(await it.hub.read('s', { before: it.cursors[8], limit: 3 }))).toEqual(['5', '6', '7'])
  expect(said(await it.hub.read('s', { before: it.cursors[2] }))).toEqual(['1'])
  expect(said(await it.hub.read('s', { before: it.cursors[1] }))).toEqual([])
})

test('pages joined backwards are the whole log, once', async () => {
  await using it = await historyOf(25)
  const all: string[] = []
  for (let page = await it.hub.read('s', { limit: 10 }); page.items.length > 0; ) {
    all.unshift(...said(page))
    page = await it.hub.read('s', { before: page.items[0]?.id, limit: 10 })
  }
  expect(all).toEqual(numbers(1, 25))
})

test.each([
  ['another epoch', () => 'other.5.5', 'gap epoch null', ['6', '7', '8']],
  ['an unreadable cursor', () => 'what?', 'gap invalid null', []],
  ['an expired cursor', (cursors: string[]) => cursors[2], 'gap expired 3', ['6', '7', '8']],
])('after %s a gap stands first', async (_, cursor, gap, rest) => {
  await using it = await historyOf(10, { maxEvents: 5 })
  expect(said(await it.hub.read('s', { after: cursor(it.cursors), limit: 3 }))).toEqual([gap, ...rest])
})

test('before a foreign cursor a gap stands first, then the newest page', async () => {
  await using it = await historyOf(10)
  expect(said(await it.hub.read('s', { before: 'other.5.5', limit: 3 }))).toEqual(['gap epoch null', '8', '9', '10'])
})

test('the id of a gap is the place after the hole: reading on from it misses nothing', async () => {
  await using it = await historyOf(10, { maxEvents: 5 })
  const { items } = await it.hub.read('s', { after: it.cursors[1], limit: 1 })
  expect(items[0]?.id).toBe(it.cursors[5])
  expect(said(await it.hub.read('s', { after: items[0]?.id }))).toEqual(numbers(6, 10))
})

test('first and head say where the log begins and ends, trimmed or not', async () => {
  await using it = await historyOf(10, { maxEvents: 4, maxAgeMs: 1_000 })
  expect(await it.hub.read('s')).toMatchObject({ first: it.cursors[7], head: it.cursors[10] })
  await it.clock.advance(1_000)
  expect(await it.hub.read('s')).toEqual({ items: [], first: null, head: it.cursors[10] })
})

test('a stream that nobody knows is empty, and its head is a place to go on from', async () => {
  await using it = await historyOf(0)
  const { items, first, head } = await it.hub.read('new')
  expect({ items, first }).toEqual({ items: [], first: null })
  await it.hub.publish('new', { data: '1' })
  const subscription = await it.hub.subscribe('new', { cursor: head })
  expect((await subscription.next()).value).toMatchObject({ type: 'event', data: '1' })
})

test('head and the page belong together: going on from head neither misses nor doubles', async () => {
  await using it = await historyOf(5)
  const page = await it.hub.read('s')
  await publishMany(it.hub, 's', 2, 6)
  const subscription = await it.hub.subscribe('s', { cursor: page.head })
  const next = [await subscription.next(), await subscription.next()]
  expect([...said(page), ...next.map(({ value }) => (value?.type === 'event' ? value.data : 'gap'))]).toEqual(
    numbers(1, 7),
  )
})

test('after and before together, and a limit of nothing, are TypeErrors', async () => {
  await using it = await historyOf(1)
  await expect(it.hub.read('s', { after: 'a', before: 'b' })).rejects.toThrow(TypeError)
  await expect(it.hub.read('s', { limit: 0 })).rejects.toThrow(/`limit`/)
})

test('a page may be read of a sealed stream', async () => {
  await using it = await historyOf(2)
  await it.hub.seal('s')
  expect(said(await it.hub.read('s'))).toEqual(['1', '2'])
})
