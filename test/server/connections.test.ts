import { expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { sse as webSse } from '../../src/adapters/web.js'
import { JOIN, type JoiningHub } from '../../src/server/hub.js'
import { createHub, type Hub, type HubConnection } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { type RawReader, read } from '../support/raw-reader.js'
import { listen } from '../support/served.js'
import { openOn } from '../support/sink.js'
import { turns, until } from '../support/turns.js'
import { pathOf, world } from '../support/world.js'

test('onOpen and onClose are told of one connection, whose id the client sees', async () => {
  const log: [string, HubConnection, unknown?][] = []
  await using it = await world({
    stream: {
      onOpen: (connection) => log.push(['open', connection]),
      onClose: (connection, reason) => log.push(['close', connection, reason]),
    },
  })
  const reader = await it.read('/news')
  await reader.until(({ frames }) => frames.length > 0)
  const [[, connection] = []] = log
  expect(connection).toMatchObject({ stream: 'news', reason: undefined, id: reader.json('stream:ready').connection })
  expect(connection?.signal.aborted).toBe(false)
  reader.destroy()
  await it.served.idle()
  expect(log.map(([name, , reason]) => [name, reason])).toEqual([
    ['open', undefined],
    ['close', 'client'],
  ])
  expect(log[1]?.[1]).toBe(connection)
  expect(connection).toMatchObject({ reason: 'client' })
  expect(connection?.signal.aborted).toBe(true)
  expect(connection?.signal.reason).toBe('client')
})

test('stats count what is open, what was opened, and what was closed by which reason', async () => {
  await using it = await world()
  const [a1, a2, b] = await Promise.all([it.read('/a'), it.read('/a'), it.read('/b')])
  expect(it.hub.stats()).toEqual({
    connections: 3,
    streams: 2,
    opened: 3,
    closed: { client: 0, sealed: 0, shutdown: 0, maxAge: 0, poll: 0, WRITE_TIMEOUT: 0, disconnected: 0, error: 0 },
    heartbeats: 0,
    gaps: 0,
  })
  a1.destroy()
  await until(() => it.hub.stats().connections === 2)
  await it.hub.seal('b')
  await b.end()
  await it.read('/a', { cursor: 'what?' })
  expect(it.hub.disconnect(() => true)).toBe(2)
  await a2.end()
  await it.served.idle()
  expect(it.hub.stats()).toMatchObject({
    connections: 0,
    streams: 0,
    opened: 4,
    closed: { client: 1, sealed: 1, disconnected: 2 },
    gaps: 1,
  })
})

test('disconnect ends those it is asked to, and their clients may come back where they were', async () => {
  await using it = await world()
  const [a, b] = await Promise.all([it.read('/a'), it.read('/b')])
  await it.hub.publish('a', { data: '1' })
  await a.until(({ events }) => events.length === 1)
  expect(it.hub.disconnect(({ stream }) => stream === 'a')).toBe(1)
  await a.end()
  expect(a.complete).toBe(true)
  expect(a.json('stream:end').reason).not.toBe('sealed')
  const again = await it.read('/a', { cursor: a.frames.at(-2)?.id })
  await again.until(({ frames }) => frames.length > 0)
  expect(again.json('stream:ready').resumed).toBe('ok')
  expect(b.over).toBe(false)
})

test('retry is drawn for each connection from its range', async () => {
  await using it = await world({ hub: { retryMs: [2_000, 3_000] } })
  const readers = await Promise.all(Array.from({ length: 50 }, () => it.read('/s')))
  await Promise.all(readers.map((reader) => reader.until(({ frames }) => frames.length > 0)))
  const retries = readers.map(({ frames }) => frames[0]?.retry ?? 0)
  expect(Math.min(...retries)).toBeGreaterThanOrEqual(2_000)
  expect(Math.max(...retries)).toBeLessThanOrEqual(3_000)
  expect(new Set(retries).size).toBeGreaterThan(25)
})

test('an onOpen that throws ends that connection with reason error, is reported, and nobody else notices', async () => {
  const errors: unknown[] = []
  const reasons: string[] = []
  const broken = new Error('broken')
  await using it = await world({
    stream: {
      onOpen: ({ stream }) => {
        if (stream === 'bad') throw broken
      },
      onClose: (_, reason) => reasons.push(reason),
      onError: (error) => errors.push(error),
    },
  })
  const good = await it.read('/good')
  const bad = await it.read('/bad')
  await bad.end()
  expect(bad.json('stream:end')).toEqual({ reason: 'error' })
  expect(errors).toEqual([broken])
  await until(() => it.hub.stats().connections === 1)
  expect(reasons).toEqual(['error'])
  expect(it.hub.stats().closed.error).toBe(1)
  await it.hub.publish('good', { data: '1' })
  await good.until(({ events }) => events.length === 1)
})

test('an onClose that throws is reported, and the other connections of the hub close all the same', async () => {
  const errors: unknown[] = []
  await using it = await world({
    stream: {
      onClose: () => {
        throw new Error('broken')
      },
      onError: (error) => {
        errors.push(error)
        throw new Error('the reporter is broken too')
      },
    },
  })
  const readers = await Promise.all([it.read('/s'), it.read('/s'), it.read('/s')])
  await it.hub.close()
  await Promise.all(readers.map((reader) => reader.end()))
  expect(errors).toHaveLength(3)
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0, closed: { shutdown: 3 } })
})

test('hooks that reject are reported, and do not end the process', async () => {
  const errors: unknown[] = []
  const reject = (() => Promise.reject(new Error('broken'))) as unknown as () => void
  await using it = await world({
    stream: { onOpen: reject, onClose: reject, onError: (error) => errors.push(error) },
  })
  const reader = await it.read('/s')
  reader.destroy()
  await it.served.idle()
  await turns()
  expect(errors).toHaveLength(2)
})

test('an onOpen that closes its connection leaves nothing', async () => {
  await using it = await world({ stream: { onOpen: (connection) => connection.close() } })
  const reader = await it.read('/s')
  await reader.end()
  expect(reader.names.at(-1)).toBe('stream:end')
  await it.served.idle()
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0, closed: { disconnected: 1 } })
})

test('web: an onOpen that throws or closes ends that response', async () => {
  for (const onOpen of [
    () => {
      throw new Error('broken')
    },
    (connection: HubConnection) => connection.close(),
  ]) {
    const clock = virtualClock()
    await using hub = createHub({ store: memoryStore(), clock })
    const response = await webSse(hub, { stream: () => 's', onOpen, onError() {} })(new Request('http://x/'))
    expect(await response.text()).toContain('event: stream:end')
    expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
  }
})

test('a client that leaves while history is replayed to it leaves nothing', async () => {
  await using it = await world({ stream: { from: 'earliest' }, hub: { ringBytes: 1 }, serve: { unix: true } })
  for (let n = 0; n < 200; n++) await it.hub.publish('s', { data: 'x'.repeat(10_000) })
  const reader = await it.read('/s')
  await reader.until(({ events }) => events.length > 3)
  reader.destroy()
  await it.served.idle()
  await turns(5)
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0, closed: { client: 1 } })
})

async function openMany(hub: Hub, count: number) {
  const served = await listen(sse(hub, { stream: pathOf }))
  const readers: RawReader[] = await Promise.all(Array.from({ length: count }, () => read(served.address, '/s')))
  return { served, readers }
}

test('two hundred clients that come and go leave no timer, no listener and no socket', async () => {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  const { served, readers } = await openMany(hub, 200)
  await using _ = served
  await hub.publish('s', { data: '1' })
  await Promise.all(readers.map((reader) => reader.until(({ events }) => events.length === 1)))
  const open = served.responses.map((res) => res.listenerCount('close'))
  expect(Math.max(...open)).toBeLessThan(10)
  for (const reader of readers) reader.destroy()
  await served.idle()
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0, opened: 200, closed: { client: 200 } })
  for (const res of served.responses) expect(res.listenerCount('drain')).toBe(0)
  await hub.close()
  expect(clock.pending).toBe(0)
})

test('who joins a stream that is at hand waits for nothing: no timer is set, and no signal is asked for', async () => {
  const clock = virtualClock()
  await using hub = createHub({ store: memoryStore(), clock })
  const first = await openOn(hub, 's')
  const { cursor } = await hub.publish('s', { data: '1' })
  await turns()
  const pending = clock.pending
  const timers = vi.spyOn(clock, 'setTimeout')
  for (const from of [undefined, cursor]) {
    let asked = 0
    const joined = await (hub as typeof hub & JoiningHub)[JOIN]('s', {
      request: undefined,
      cursor: from,
      from: 'now',
      pollMs: undefined,
      replay: undefined,
      get signal() {
        asked++
        return new AbortController().signal
      },
    })
    expect(asked).toBe(0)
    joined.abandon()
  }
  expect(timers).not.toHaveBeenCalled()
  expect(clock.pending).toBe(pending)
  first.leave()
})
