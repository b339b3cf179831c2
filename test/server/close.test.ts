import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { openOn } from '../support/sink.js'
import { FarStore } from '../support/stores.js'
import { turns } from '../support/turns.js'
import { world } from '../support/world.js'

const CONNECTIONS = 100
const STALLED = 10

test('a hundred connections, some of them stalled, are closed within the grace', async () => {
  const hub = createHub({ store: memoryStore() })
  const reasons: string[] = []
  const handler = sse(hub, { stream: () => 's', onClose: (_, reason) => reasons.push(reason) })
  await using served = await listen(handler, { unix: true })
  const readers = await Promise.all(Array.from({ length: CONNECTIONS }, () => read(served.address)))
  await Promise.all(readers.map((reader) => reader.until(({ frames }) => frames.length === 1)))
  const stalled = readers.slice(0, STALLED)
  const healthy = readers.slice(STALLED)
  for (const { response } of stalled) response.pause()
  for (let n = 0; n < 100; n++) await hub.publish('s', { data: 'x'.repeat(20_000) })
  await Promise.all(healthy.map((reader) => reader.until(({ events }) => events.length === 100)))
  expect(hub.stats().connections).toBe(CONNECTIONS)

  const began = performance.now()
  await hub.close({ graceMs: 2_000 })
  expect(performance.now() - began).toBeLessThan(2_200)
  await Promise.all(healthy.map((reader) => reader.end()))
  for (const reader of healthy) {
    expect(reader.complete).toBe(true)
    expect(reader.json('stream:end')).toEqual({ reason: 'shutdown' })
  }
  expect(reasons).toEqual(Array(CONNECTIONS).fill('shutdown'))
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0, closed: { shutdown: CONNECTIONS } })

  // They were told at the beginning when to come back, each something else.
  const retries = healthy.map(({ frames }) => frames[0]?.retry ?? 0)
  expect(new Set(retries).size).toBeGreaterThan(60)
  expect(Math.max(...retries) - Math.min(...retries)).toBeGreaterThan(2_000)
}, 20_000)

test('healthy clients alone do not wait for the grace', async () => {
  await using it = await world()
  const readers = await Promise.all(Array.from({ length: 20 }, () => it.read('/s')))
  await it.hub.close({ graceMs: 60_000 })
  await Promise.all(readers.map((reader) => reader.end()))
  expect(it.clock.pending).toBe(0)
})

test('what did not take its end within the grace is cut, and not before', async () => {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  const sink = await openOn(hub, 's')
  sink.room = false
  await hub.publish('s', { data: 'x' })
  await turns()
  const closing = hub.close({ graceMs: 1_000 })
  await clock.advance(999)
  expect(sink.state).toBe('open')
  await clock.advance(1)
  await closing
  expect(sink.state).toBe('destroyed')
  expect(sink.names).not.toContain('stream:end')
  expect(clock.pending).toBe(0)
})

test('a slow reader that drains within the grace is told the end', async () => {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  const sink = await openOn(hub, 's')
  sink.room = false
  await hub.publish('s', { data: 'x' })
  await turns()
  const closing = hub.close({ graceMs: 1_000 })
  await clock.advance(500)
  sink.drain()
  await closing
  expect(sink.state).toBe('ended')
  expect(sink.names).toEqual(['stream:ready', 'message', 'stream:end'])
  expect(clock.pending).toBe(0)
})

test('after close every verb is CLOSED, and a join is a 503', async () => {
  await using it = await world()
  await it.hub.close()
  const closed = { code: 'CLOSED' }
  await expect(it.hub.publish('s', { data: 'x' })).rejects.toMatchObject(closed)
  await expect(it.hub.subscribe('s')).rejects.toMatchObject(closed)
  await expect(it.hub.read('s')).rejects.toMatchObject(closed)
  await expect(it.hub.seal('s')).rejects.toMatchObject(closed)
  const reader = await it.read('/s')
  await reader.end()
  expect(reader.status).toBe(503)
  expect(reader.response.headers).toHaveProperty('retry-after')
})

test('a join under way when the hub is closed is refused and leaves nothing', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.delayMs = 1_000
  const hub = createHub({ store, clock })
  await using served = await listen(sse(hub, { stream: () => 's' }))
  const joining = read(served.address)
  while (store.calls.watch === 0) await clock.advance(10)
  await hub.close()
  await clock.advance(5_000)
  const reader = await joining
  await reader.end()
  expect(reader.status).toBe(503)
  expect(store.watching).toBe(0)
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
  expect(clock.pending).toBe(0)
})

test('closing twice is closing once', async () => {
  const hub = createHub({ store: memoryStore() })
  await openOn(hub, 's')
  await Promise.all([hub.close(), hub.close()])
  await hub[Symbol.asyncDispose]()
  expect(hub.stats().closed.shutdown).toBe(1)
})

test('a grace of nothing or less is a TypeError that names it', async () => {
  const hub = createHub({ store: memoryStore() })
  const close = async () => hub.close({ graceMs: -1 })
  await expect(close()).rejects.toThrow(/`graceMs`/)
  await hub.close()
})
