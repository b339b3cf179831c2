import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, expect, test, vi } from 'vitest'
import { createHub, type DiagnosticMessages, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { until } from '../support/turns.js'
import { publishMany } from '../support/world.js'

type Name = keyof DiagnosticMessages

// A record, so that the compiler counts them.
const NAMES: Record<Name, true> = {
  'steady-sse:connection:open': true,
  'steady-sse:connection:close': true,
  'steady-sse:gap': true,
  'steady-sse:replay': true,
  'steady-sse:write-timeout': true,
  'steady-sse:heartbeat:skip': true,
  'steady-sse:publish': true,
}
const names = Object.keys(NAMES) as Name[]
const endings: (() => void)[] = []

afterEach(() => {
  vi.restoreAllMocks()
  vi.resetModules()
  for (const end of endings.splice(0)) end()
  expect(names.filter((name) => channel(name).hasSubscribers)).toEqual([])
})

test('a connection is told of when it opens and when it is over, with its reason and how long it was open', async () => {
  const { heard, hub, clock } = listening('steady-sse:connection:open', 'steady-sse:connection:close')
  const sink = await openOn(hub, 'news')
  await clock.advance(7_000)
  sink.leave()
  const [open, close] = heard
  expect(open).toEqual([
    'steady-sse:connection:open',
    { hub, connection: expect.objectContaining({ stream: 'news', reason: 'client' }), resumed: 'new', poll: false },
  ])
  expect(open?.[1].hub).toBe(hub)
  expect(close).toEqual([
    'steady-sse:connection:close',
    { hub, connection: expect.anything(), reason: 'client', durationMs: 7_000 },
  ])
  expect(connectionOf(close)).toBe(connectionOf(open))
  expect(heard).toHaveLength(2)
})

test('what an onOpen hook sees has been told before', async () => {
  const { heard, hub } = listening('steady-sse:connection:open')
  let before = 0
  await openOn(hub, 'news', {
    hooks: {
      onOpen: () => {
        before = heard.length
        return true
      },
    },
  })
  expect(before).toBe(1)
})

test('a gap on arrival and a gap under way are told with their reason and count, as often as stats counts them', async () => {
  const { heard, hub, clock } = listening('steady-sse:gap')
  const cursors = await publishMany(hub, 'news', 30)
  await openOn(hub, 'news', { cursor: cursors[5] })
  expect(heard.map(([, message]) => message)).toEqual([
    { hub, connection: expect.objectContaining({ stream: 'news' }), reason: 'expired', missed: 15 },
  ])

  // The reader takes nothing while the log and the ring move on.
  const slow = new ScriptedSink()
  slow.room = false
  await openOn(hub, 'news', { sink: slow })
  await publishMany(hub, 'news', 3_000)
  await clock.advance(1)
  slow.drain()
  await until(() => heard.length === 2)
  expect(heard[1]?.[1]).toMatchObject({ connection: { stream: 'news' }, reason: 'expired', missed: 2_990 })
  expect(hub.stats().gaps).toBe(2)
})

test('a replay is told with the number of events, and nothing is replayed to who is up to date', async () => {
  const { heard, hub } = listening('steady-sse:replay')
  const cursors = await publishMany(hub, 'news', 8)
  await openOn(hub, 'news')
  await openOn(hub, 'news', { cursor: cursors[8] })
  expect(heard).toEqual([])
  await openOn(hub, 'news', { cursor: cursors[3] })
  await openOn(hub, 'news', { from: 'earliest' })
  expect(heard.map(([, message]) => message)).toEqual([
    { hub, connection: expect.objectContaining({ stream: 'news' }), count: 5 },
    { hub, connection: expect.anything(), count: 8 },
  ])
})

test('a client that takes nothing is told of as skipped heartbeats once, then as a write timeout, then as closed', async () => {
  const { heard, hub, clock } = listening(
    'steady-sse:heartbeat:skip',
    'steady-sse:write-timeout',
    'steady-sse:connection:close',
  )
  const sink = await openOn(hub, 'news')
  sink.room = false
  await hub.publish('news', { data: 'never taken' })
  await clock.advance(60_000)
  expect(sink.state).toBe('destroyed')
  const connection = expect.objectContaining({ stream: 'news' })
  expect(heard).toEqual([
    ['steady-sse:heartbeat:skip', { hub, connection }],
    ['steady-sse:write-timeout', { hub, connection, writeTimeoutMs: 30_000 }],
    [
      'steady-sse:connection:close',
      { hub, connection, reason: 'WRITE_TIMEOUT', durationMs: expect.closeTo(30_000, -2) },
    ],
  ])
})

test('skipped heartbeats are told of anew when the connection was idle in between', async () => {
  const { heard, hub, clock } = listening('steady-sse:heartbeat:skip')
  const sink = await openOn(hub, 'news')
  for (let episode = 1; episode <= 2; episode++) {
    sink.room = false
    await hub.publish('news', { data: String(episode) })
    await clock.advance(20_000)
    expect(heard).toHaveLength(episode)
    sink.drain()
    await clock.advance(20_000)
  }
  expect(heard).toHaveLength(2)
})

test('a deadline that passes while the goodbye is not taken is a write timeout, though the reason stays', async () => {
  const { heard, hub, clock } = listening('steady-sse:write-timeout', 'steady-sse:connection:close')
  const sink = await openOn(hub, 'news')
  sink.room = false
  await hub.publish('news', { data: 'never taken' })
  await clock.advance(1)
  hub.disconnect(() => true)
  await clock.advance(60_000)
  expect(heard.map(([name]) => name)).toEqual(['steady-sse:write-timeout', 'steady-sse:connection:close'])
  expect(heard[1]?.[1]).toMatchObject({ reason: 'disconnected' })
})

test('what is published is told once per call, with the places and whether they were there before', async () => {
  const { heard, hub } = listening('steady-sse:publish')
  const first = await hub.publish('news', { data: 'hello', key: 'k' })
  const more = await hub.publish('news', [{ data: 'hello', key: 'k' }, { data: '22' }])
  expect(heard.map(([, message]) => message)).toEqual([
    { hub, stream: 'news', published: [first], weight: 69 },
    { hub, stream: 'news', published: more, weight: 69 + 66 },
  ])
  expect(more.map(({ duplicate }) => duplicate)).toEqual([true, false])
  await expect(hub.publish('news', { event: 'stream:gap', data: '' })).rejects.toThrow(TypeError)
  expect(heard).toHaveLength(2)
})

test('a pipe is told of event by event', async () => {
  const { heard, hub } = listening('steady-sse:publish')
  async function* tokens() {
    yield { data: 'a' }
    yield { data: 'b' }
  }
  await hub.pipe('answer', tokens())
  expect(heard).toHaveLength(2)
})

test('nothing is said, and so nothing made, on a channel without a subscriber', async () => {
  const spies = names.map((name) => vi.spyOn(channel(name), 'publish'))
  const told = () => spies.map((spy) => spy.mock.calls.length)
  await everything(hubOf())
  expect(told()).toEqual(names.map(() => 0))
  // The same with subscribers, or the line above would prove nothing.
  const { hub } = listening(...names)
  await everything(hub)
  expect(told().filter((count) => count === 0)).toEqual([])
})

test('two copies of the package speak on the same channels', async () => {
  const { heard } = listening('steady-sse:publish')
  vi.resetModules()
  const copy = await import('../../src/server/create-hub.js')
  expect(copy.createHub).not.toBe(createHub)
  const hubs = [createHub({ store: memoryStore() }), copy.createHub({ store: memoryStore() })]
  for (const hub of hubs) await hub.publish('news', { data: '1' })
  expect(heard.map(([, { hub }]) => hubs.indexOf(hub))).toEqual([0, 1])
})

test('a subscriber that throws breaks neither the hub nor the others: Node raises it by itself', async () => {
  const raised: unknown[] = []
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => raised.push(error))
  endings.push(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of before) process.on('uncaughtException', listener)
  })
  const broken = new Error('broken')
  hear('steady-sse:publish', () => {
    throw broken
  })
  const { heard, hub } = listening('steady-sse:publish')
  const sink = await openOn(hub, 'news')
  await hub.publish('news', { data: '1' })
  await until(() => sink.frames.some(({ data }) => data === '1'))
  expect(heard).toHaveLength(1)
  await until(() => raised.length > 0)
  expect(raised).toEqual([broken])
})

test.each([
  ['no process', undefined],
  ['a process without modules', {}],
  ['no such module', { getBuiltinModule: () => undefined }],
  [
    'a process that is only pretended',
    {
      getBuiltinModule: () => {
        throw new Error('not implemented')
      },
    },
  ],
])('where there are no channels, a hub works all the same: %s', async (_, process) => {
  vi.stubGlobal('process', process)
  const hub = hubOf()
  vi.unstubAllGlobals()
  await everything(hub)
  expect(hub.stats()).toMatchObject({ opened: 2, gaps: 1, closed: { WRITE_TIMEOUT: 1, client: 1 } })
})

type Heard = { [N in Name]: [N, DiagnosticMessages[N]] }[Name]

const clocks = new WeakMap<object, ReturnType<typeof virtualClock>>()

function hubOf(options: Partial<HubOptions> = {}) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore({ maxEvents: 10 }), ringBytes: 1_024, clock, ...options })
  clocks.set(hub, clock)
  return hub
}

function listening(...which: Name[]) {
  const hub = hubOf()
  const heard: Heard[] = []
  for (const name of which) hear(name, (message) => heard.push([name, message] as Heard))
  return { heard, hub, clock: clocks.get(hub) as ReturnType<typeof virtualClock> }
}

function hear(name: Name, listener: (message: unknown) => void): void {
  subscribe(name, listener)
  endings.push(() => unsubscribe(name, listener))
}

function connectionOf(heard: Heard | undefined): unknown {
  return heard && 'connection' in heard[1] ? heard[1].connection : undefined
}

/** A bit of each: an arrival with a gap and a replay, a publish, a skipped heartbeat, a write timeout, two ends. */
async function everything(hub: ReturnType<typeof hubOf>): Promise<void> {
  const cursors = await publishMany(hub, 'news', 30)
  const returned = await openOn(hub, 'news', { cursor: cursors[5] })
  returned.leave()
  const stuck = await openOn(hub, 'news')
  stuck.room = false
  await hub.publish('news', { data: 'never taken' })
  await clocks.get(hub)?.advance(60_000)
}
