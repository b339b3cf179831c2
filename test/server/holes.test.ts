import { expect, test } from 'vitest'
import type { StreamItem } from '../../src/protocol/event.js'
import type { EventStore, Page, ReadOptions } from '../../src/protocol/store.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { SqliteFile } from '../stores/sqlite-file.js'
import { openOn } from '../support/sink.js'
import { until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

/** A store from which somebody deletes rows beside it. */
function holed(gone: Set<number>): EventStore {
  const store = memoryStore()
  const { read } = store
  return Object.assign(store, {
    read(stream: string, offset: number, options: ReadOptions): Page | null {
      const page = Reflect.apply(read, store, [stream, offset, options]) as Page | null
      if (!page) return page
      const tag = gone.has(offset) ? undefined : page.tag
      return { ...page, tag, events: page.events.filter((event) => !gone.has(event.offset)) }
    },
  })
}

const said = (item: StreamItem) => (item.type === 'gap' ? `gap ${item.reason} ${item.missed}` : item.data)

test.each([
  ['in the middle', [4, 5], [...numbers(1, 3), 'gap expired 2', ...numbers(6, 9)]],
  ['at the beginning', [1], ['gap expired 1', ...numbers(2, 9)]],
  ['at the end', [7, 8], [...numbers(1, 6), 'gap expired 2', '9']],
  ['twice', [2, 5, 6], ['1', 'gap expired 1', '3', '4', 'gap expired 2', ...numbers(7, 9)]],
])('what was deleted %s of a log is announced by a gap, to all readers', async (_, deleted, expected) => {
  const gone = new Set<number>()
  const store = holed(gone)
  await using before = createHub({ store })
  await publishMany(before, 's', 8)
  for (const offset of deleted) gone.add(offset)
  await using hub = createHub({ store })
  const response = await openOn(hub, 's', { from: 'earliest' })
  const items: string[] = []
  const subscription = await hub.subscribe('s', { from: 'earliest' })
  void (async () => {
    for await (const item of subscription) items.push(said(item))
  })()
  await until(() => response.names.length > 8 - deleted.length)
  await hub.publish('s', { data: '9' })
  await until(() => items.at(-1) === '9' && response.events.at(-1) === '9')
  expect(items).toEqual(expected)
  expect(response.events).toEqual(expected.filter((item) => !item.startsWith('gap')))
  expect(response.names.filter((name) => name === 'stream:gap')).toHaveLength(
    expected.filter((item) => item.startsWith('gap')).length,
  )
})

test.each([
  ['in the middle', '4, 5', [...numbers(1, 3), 'gap expired 2', '6', '7', '8'], '9'],
  // What followed the last row that is left cannot be proved to follow it.
  ['at the end', '7, 8', [...numbers(1, 6), 'gap expired 2'], 'gap diverged null'],
])('rows that somebody deletes from a file, %s, are announced by a gap', async (_, deleted, expected, next) => {
  using file = new SqliteFile()
  await using hub = createHub({ store: file.store() })
  await publishMany(hub, 's', 8)
  file.connect().prepare(`DELETE FROM steady_events WHERE off IN (${deleted})`).run()
  await using other = createHub({ store: file.store() })
  const items: string[] = []
  const subscription = await other.subscribe('s', { from: 'earliest' })
  void (async () => {
    for await (const item of subscription) items.push(said(item))
  })()
  await until(() => items.length >= expected.length)
  await hub.publish('s', { data: '9' })
  await until(() => items.length > expected.length)
  expect(items).toEqual([...expected, next])
})
