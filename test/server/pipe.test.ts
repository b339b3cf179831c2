import { expect, test } from 'vitest'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openOn } from '../support/sink.js'

async function* count(to: number, onPull: (n: number) => void = () => {}) {
  for (let n = 1; n <= to; n++) {
    onPull(n)
    yield { data: String(n) }
  }
}

const hop = () => new Promise((resolve) => setImmediate(resolve))

test('a pipe publishes what the iterable yields, in order, and seals the stream', async () => {
  await using hub = createHub({ store: memoryStore() })
  const { cursor, count: published } = await hub.pipe('s', count(5))
  expect(published).toBe(5)
  const { items, head } = await hub.read('s')
  expect(items.map((item) => (item.type === 'event' ? item.data : item.reason))).toEqual(['1', '2', '3', '4', '5'])
  expect(cursor).toBe(head)
  await expect(hub.publish('s', { data: 'x' })).rejects.toMatchObject({ code: 'SEALED' })
})

test('a pipe with seal false leaves the stream open', async () => {
  await using hub = createHub({ store: memoryStore() })
  expect(await hub.pipe('s', count(0), { seal: false })).toEqual({ cursor: null, count: 0 })
  await hub.publish('s', { data: 'x' })
})

test('an iterable that throws leaves a gap record, then the seal, and the pipe rejects with its error', async () => {
  await using hub = createHub({ store: memoryStore() })
  async function* broken() {
    yield { data: '1' }
    throw new Error('the model is gone')
  }
  await expect(hub.pipe('s', broken())).rejects.toThrow('the model is gone')
  expect((await hub.read('s')).items).toMatchObject([{ data: '1' }, { type: 'gap', reason: 'source', missed: null }])
  await expect(hub.publish('s', { data: 'x' })).rejects.toMatchObject({ code: 'SEALED' })
})

test('an aborted signal ends a pipe whose iterable is stuck', async () => {
  await using hub = createHub({ store: memoryStore() })
  const aborting = new AbortController()
  async function* stuck() {
    yield { data: '1' }
    await new Promise(() => {})
  }
  const piped = hub.pipe('s', stuck(), { signal: aborting.signal })
  await hop()
  aborting.abort(new Error('enough'))
  await expect(piped).rejects.toThrow('enough')
  expect((await hub.read('s')).items.at(-1)).toMatchObject({ reason: 'source' })
})

test('with maxLead the producer pauses for the slowest connection, and goes on when it drains or leaves', async () => {
  await using hub = createHub({ store: memoryStore() })
  const slow = await openOn(hub, 's')
  const fast = await openOn(hub, 's')
  slow.room = false
  let pulled = 0
  const piped = hub.pipe(
    's',
    count(100, (n) => {
      pulled = n
    }),
    { maxLead: 10 },
  )
  for (let i = 0; i < 50; i++) await hop()
  const paused = pulled
  // What was pending when the sink filled up is written in one block; the lead counts from there.
  expect(paused).toBeGreaterThanOrEqual(10)
  expect(paused).toBeLessThan(30)
  slow.drain()
  for (let i = 0; i < 50; i++) await hop()
  expect(pulled).toBeGreaterThan(paused)
  slow.leave()
  expect((await piped).count).toBe(100)
  expect(fast.events.at(-1)).toBe('100')
})

test('a pipe refuses what is no async iterable', async () => {
  await using hub = createHub({ store: memoryStore() })
  await expect(hub.pipe('s', [] as never)).rejects.toThrow(TypeError)
})
