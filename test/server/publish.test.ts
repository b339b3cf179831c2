import { expect, test } from 'vitest'
import type { PublishEvent } from '../../src/protocol/event.js'
import { createHub, SseError } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn } from '../support/sink.js'
import { FarStore } from '../support/stores.js'
import { turns, until } from '../support/turns.js'
import { numbers, world } from '../support/world.js'

function hubOf(options: Partial<Parameters<typeof createHub>[0]> = {}) {
  return createHub({ store: memoryStore(), clock: virtualClock(), ...options })
}

const codeOf = (one: PromiseSettledResult<unknown>) =>
  one.status === 'fulfilled' ? 'ok' : one.reason instanceof SseError ? one.reason.code : one.reason

test.each(['a\rb', 'a\nb', 'a\0b', 'stream:x', 'stream:', 'half \ud800', 5 as unknown as string])(
  'the event name %j is a TypeError that names the field, and nothing is stored',
  async (event) => {
    await using hub = hubOf()
    await expect(hub.publish('s', { data: 'x', event })).rejects.toThrow(TypeError)
    await expect(hub.publish('s', { data: 'x', event })).rejects.toThrow(/`event`/)
    expect((await hub.read('s')).items).toEqual([])
  },
)

const cyclic: { self?: unknown } = {}
cyclic.self = cyclic

test.each([
  ['undefined', undefined],
  ['a function', () => {}],
  ['a symbol', Symbol('x')],
  ['a cycle', cyclic],
  ['a bigint', 5n],
  ['half a character', 'half \ud800'],
])('data that is %s is a TypeError', async (_, data) => {
  await using hub = hubOf()
  await expect(hub.publish('s', { data })).rejects.toThrow(TypeError)
})

test.each([
  ['a string as it is', 'null', 'null'],
  ['null', null, 'null'],
  ['a number', 5, '5'],
  ['an object', { a: ['ä', '\n'] }, '{"a":["ä","\\n"]}'],
  ['half a character inside JSON, escaped', { a: '\ud800' }, '{"a":"\\ud800"}'],
  ['an empty string', '', ''],
])('data may be %s', async (_, data, sent) => {
  await using hub = hubOf()
  await hub.publish('s', { data })
  expect((await hub.read('s')).items).toMatchObject([{ data: sent }])
})

test.each(['', 'x'.repeat(1_025), 5 as unknown as string, undefined as unknown as string])(
  'the stream %j is a TypeError that names it, on every verb',
  async (stream) => {
    await using hub = hubOf()
    const refused = /`stream`/
    await expect(hub.publish(stream, { data: 'x' })).rejects.toThrow(refused)
    await expect(hub.subscribe(stream)).rejects.toThrow(refused)
    await expect(hub.read(stream)).rejects.toThrow(refused)
    await expect(hub.seal(stream)).rejects.toThrow(refused)
    expect(hub.stats().streams).toBe(0)
  },
)

test.each([null, 'x', 5, undefined])('publishing %j is a TypeError', async (event) => {
  await using hub = hubOf()
  await expect(hub.publish('s', event as unknown as PublishEvent)).rejects.toThrow(TypeError)
})

// 'data: ' + '\n' around each line, 'event: e\n', and 'id: ' with 64 characters of cursor at the most, and the blank line
const AROUND = 'event: e\n'.length + `id: ${'x'.repeat(64)}\n\n`.length
const MAX = 4_096

test.each([
  ['ASCII', (bytes: number) => 'x'.repeat(bytes)],
  ['two bytes each', (bytes: number) => 'x'.repeat(bytes % 2) + 'ä'.repeat(bytes >> 1)],
  ['three bytes each', (bytes: number) => 'x'.repeat(bytes % 3) + '€'.repeat(Math.floor(bytes / 3))],
  ['four bytes each', (bytes: number) => 'x'.repeat(bytes % 4) + '😀'.repeat(bytes >> 2)],
  ['line breaks', (bytes: number) => 'x'.repeat(bytes % 7) + '\n'.repeat(Math.floor(bytes / 7))],
  ['CRLF breaks', (bytes: number) => 'x'.repeat(bytes % 7) + '\r\n'.repeat(Math.floor(bytes / 7))],
])('a frame of %s may take maxFrameBytes and not one more', async (_, make) => {
  await using hub = hubOf({ maxFrameBytes: MAX })
  const room = MAX - AROUND - 'data: \n'.length
  await hub.publish('s', { event: 'e', data: make(room) })
  await expect(hub.publish('s', { event: 'e', data: make(room + 1) })).rejects.toMatchObject({
    code: 'FRAME_TOO_LARGE',
  })
  expect((await hub.read('s')).items).toHaveLength(1)
})

test('nothing that is sent is larger than maxFrameBytes', async () => {
  await using hub = hubOf({ maxFrameBytes: MAX })
  const sink = await openOn(hub, 's')
  await hub.publish('s', { event: 'e', data: '\n'.repeat(Math.floor((MAX - AROUND - 7) / 7)) })
  await turns()
  expect(sink.events).toHaveLength(1)
  expect(Math.max(...sink.sizes)).toBeLessThanOrEqual(MAX)
})

test('an array is stored as one: all of it in order, or none', async () => {
  await using hub = hubOf()
  const published = await hub.publish('s', [{ data: '1' }, { data: '2', key: 'k' }, { data: '3', key: 'k' }])
  expect(published.map(({ duplicate }) => duplicate)).toEqual([false, false, true])
  expect(published[2]?.cursor).toBe(published[1]?.cursor)
  await expect(hub.publish('s', [{ data: '4' }, { data: '5', event: 'a\nb' }])).rejects.toThrow(TypeError)
  expect((await hub.read('s')).items).toMatchObject([{ data: '1' }, { data: '2' }])
  expect(await hub.publish('s', [])).toEqual([])
})

test('the cursor that publish gives is the id that readers see', async () => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  const { cursor } = await hub.publish('s', { data: 'x' })
  await turns()
  expect(sink.frames.at(-1)?.id).toBe(cursor)
})

test('a key publishes once: the second gives the first cursor, and readers see one event', async () => {
  await using hub = hubOf()
  const sink = await openOn(hub, 's')
  const first = await hub.publish('s', { data: 'x', key: 'k' })
  const second = await hub.publish('s', { data: 'other', key: 'k' })
  expect(second).toStrictEqual({ cursor: first.cursor, duplicate: true })
  await hub.publish('s', { data: 'y', key: 'l' })
  await turns()
  expect(sink.events).toEqual(['x', 'y'])
  await expect(hub.publish('s', { data: 'x', key: '' })).rejects.toThrow(/`key`/)
})

test('un-awaited publishes beyond maxPendingBytes are OVERLOADED, the accepted ones all arrive, in order', async () => {
  await using hub = hubOf({ maxPendingBytes: 100_000 })
  const sink = await openOn(hub, 's')
  const settled = await Promise.allSettled(
    Array.from({ length: 5_000 }, (_, n) => hub.publish('s', { data: String(n + 1).padEnd(136) })),
  )
  const codes = settled.map(codeOf)
  const accepted = codes.indexOf('OVERLOADED')
  // Each counts 136 characters and 64 for what surrounds them. What the store takes at once is not under way, until
  // there is so much of it that a turn of the loop is waited for.
  expect(accepted).toBe(Math.floor((256 * 1024) / 200) + 500)
  expect(new Set(codes.slice(accepted))).toEqual(new Set(['OVERLOADED']))
  await until(() => sink.events.length >= accepted)
  expect(sink.events.map((data) => data.trimEnd())).toEqual(numbers(1, accepted))
  expect((await hub.publish('s', { data: 'next' })).duplicate).toBe(false)
})

test('with a store that is far away, un-awaited publishes are bounded too', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.delayMs = 100
  await using hub = hubOf({ store, clock, maxPendingBytes: 100_000 })
  const settling = Promise.allSettled(Array.from({ length: 1_000 }, () => hub.publish('s', { data: 'x'.repeat(136) })))
  await clock.advance(1_000)
  expect((await settling).map(codeOf).indexOf('OVERLOADED')).toBe(500)
  expect(store.calls.append).toBe(500)
  expect(clock.pending).toBe(0)
})

test('a loop that awaits 50,000 publishes lets a client have them while it runs', async () => {
  await using it = await world({ store: { maxEvents: 100_000, maxBytes: 64 * 1024 * 1024 } })
  const reader = await it.read('/s')
  const progress = new Set<number>()
  for (let n = 1; n <= 50_000; n++) {
    await it.hub.publish('s', { data: String(n) })
    if (n % 1_000 === 0) progress.add(reader.events.length)
  }
  expect(progress.size).toBeGreaterThan(5)
  await reader.until(({ frames }) => frames.length === 50_001)
  expect(reader.events).toEqual(numbers(1, 50_000))
  expect(reader.names).not.toContain('stream:gap')
})

test('a store that fails is STORE_UNAVAILABLE with its error as the cause', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.fails = () => true
  await using hub = hubOf({ store, clock })
  for (const verb of [
    () => hub.publish('s', { data: 'x' }),
    () => hub.seal('s'),
    () => hub.read('s'),
    () => hub.subscribe('s'),
  ]) {
    await expect(verb()).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      cause: expect.objectContaining({ message: expect.stringContaining('away') }),
    })
  }
  expect(hub.stats().streams).toBe(0)
})

test('a store that does not confirm is PUBLISH_TIMEOUT, and `signal` ends the waiting with its reason', async () => {
  const clock = virtualClock()
  const store = new FarStore(memoryStore(), clock)
  store.stuck.add('append')
  await using hub = hubOf({ store, clock, publishTimeoutMs: 3_000 })
  const late = expect(hub.publish('s', { data: 'x' })).rejects.toMatchObject({ code: 'PUBLISH_TIMEOUT' })
  const leaving = new AbortController()
  const reason = new Error('enough')
  const left = expect(hub.publish('s', { data: 'y' }, { signal: leaving.signal })).rejects.toBe(reason)
  leaving.abort(reason)
  await left
  await clock.advance(2_999)
  expect(clock.pending).toBe(1)
  await clock.advance(1)
  await late
  expect(clock.pending).toBe(0)
})

test.each([
  { store: undefined },
  { heartbeatMs: 0 },
  { heartbeatAs: 'ping' },
  { writeTimeoutMs: '5' },
  { joinTimeoutMs: -1 },
  { maxReplay: -1 },
  { maxFrameBytes: 10 },
  { maxStreams: 0 },
  { retryMs: [5, 1] },
  { retryMs: 5 },
  { ringBytes: 0 },
  { padBytes: -1 },
  { sealedTtlMs: Number.NaN },
])('createHub with %j is a TypeError that names the option', (wrong) => {
  const [name = ''] = Object.keys(wrong)
  const options = { store: memoryStore(), ...wrong } as unknown as Parameters<typeof createHub>[0]
  expect(() => createHub(options)).toThrow(TypeError)
  expect(() => createHub(options)).toThrow(`\`${name}\``)
})

test('a publish whose signal is aborted already stores nothing', async () => {
  await using hub = createHub({ store: memoryStore() })
  const signal = AbortSignal.abort(new Error('too late'))
  await expect(hub.publish('s', { data: 'x' }, { signal })).rejects.toThrow('too late')
  expect((await hub.read('s')).items).toEqual([])
})
