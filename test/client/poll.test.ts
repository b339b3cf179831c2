import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/connect.js'
import type { ConnectOptions, StateChange } from '../../src/client/options.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import type { Fault } from '../../src/testing/faults.js'
import { simulate } from '../../src/testing/simulate.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { numbers } from '../support/world.js'
import { collect, event, HANG, ready, scripted } from './scripted.js'

const WHOLE: Fault = { kind: 'buffering', bytes: Number.POSITIVE_INFINITY }
const url = 'https://example.com/news'

/** A hub, a client of it, and a path between them whose faults the test changes. */
function scene(options: ConnectOptions = {}) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  const path = { faults: [] as Fault[], cutsStreams: false, polls: 0, streams: 0 }
  const handler = sse(hub, { stream: () => 'news' })
  const fetch = simulate(
    (request) => {
      const isPoll = new URL(request.url).searchParams.has('poll')
      path[isPoll ? 'polls' : 'streams']++
      if (path.cutsStreams && !isPoll) {
        return new Response('retry: 1000\n\n', { headers: { 'content-type': 'text/event-stream' } })
      }
      return handler(request)
    },
    { clock, faults: () => path.faults },
  )
  const changes: StateChange[] = []
  const items: StreamItem[] = []
  const start = () => {
    const stream = connect(url, { clock, fetch, onState: (change) => changes.push(change), ...options })
    void (async () => {
      for await (const item of stream) items.push(item)
    })().catch(() => {})
    return stream
  }
  const publish = async (from: number, to: number, everyMs: number) => {
    for (const data of numbers(from, to)) {
      await hub.publish('news', { data })
      await clock.advance(everyMs)
    }
  }
  return {
    clock,
    hub,
    path,
    changes,
    start,
    publish,
    data: () => items.map((item) => (item.type === 'gap' ? `gap ${item.reason}` : item.data)),
    modes: () => changes.filter(({ state }) => state === 'open').map(({ mode }) => mode),
  }
}

test('through a path that holds whole responses, every event comes, once and in order, by polls', async () => {
  const it = scene()
  it.path.faults = [WHOLE]
  const stream = it.start()
  await it.clock.advance(12_000)
  expect(stream.state).toBe('open')
  expect(it.changes.at(-1)).toMatchObject({ state: 'open', mode: 'poll' })
  await it.publish(1, 100, 700)
  await it.clock.advance(2_000)
  expect(it.data()).toEqual(numbers(1, 100))
  expect(it.modes()).toEqual(['poll'])
  stream.close()
})

test('polls of an idle stream are one in 25 seconds, and change no state', async () => {
  const it = scene()
  it.path.faults = [WHOLE]
  const stream = it.start()
  await it.clock.advance(60_000)
  const { polls } = it.path
  const changes = it.changes.length
  await it.clock.advance(250_000)
  expect(it.path.polls - polls).toBeLessThanOrEqual(11)
  expect(it.changes).toHaveLength(changes)
  stream.close()
})

test('when the path is mended, streaming returns by itself, without loss or duplicate', async () => {
  const it = scene()
  it.path.faults = [WHOLE]
  const stream = it.start()
  await it.clock.advance(12_000)
  await it.publish(1, 20, 500)
  it.path.faults = []
  await it.publish(21, 300, 500)
  expect(it.data()).toEqual(numbers(1, 300))
  expect(it.modes()).toEqual(['poll', 'stream'])
  const { polls } = it.path
  await it.clock.advance(600_000)
  expect(it.path.polls).toBe(polls)
  stream.close()
})

test('streaming is tried less and less often while it does not work', async () => {
  const it = scene()
  it.path.faults = [WHOLE]
  const stream = it.start()
  const tries: number[] = []
  for (let minutes = 0; minutes < 60; minutes++) {
    const before = it.path.streams
    await it.clock.advance(60_000)
    if (it.path.streams > before) tries.push(minutes)
  }
  expect(it.path.streams).toBeGreaterThan(6)
  expect(it.path.streams).toBeLessThan(16)
  expect(tries.at(-1)).toBeGreaterThan(45)
  stream.close()
})

test('a path that holds the last chunk until the next one is met with polls', async () => {
  const it = scene()
  it.path.faults = [{ kind: 'holdLast' }]
  const stream = it.start()
  await it.clock.advance(12_000)
  await it.publish(1, 10, 1_000)
  expect(it.data()).toEqual(numbers(1, 10))
  stream.close()
})

test('streams that keep ending at once are given up for polls', async () => {
  const it = scene()
  // What is asked to stay open is cut, what is over soon passes.
  it.path.cutsStreams = true
  const stream = it.start()
  await it.clock.advance(20_000)
  await it.publish(1, 10, 1_000)
  expect(it.modes()).toContain('poll')
  expect(it.data()).toEqual(numbers(1, 10))
  stream.close()
})

test('a quiet stream of another server stays as it is, and is asked by one poll', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([HANG]))
  const changes: StateChange[] = []
  const stream = connect(url, { clock, fetch: server.fetch, onState: (change) => changes.push(change) })
  await clock.advance(200_000)
  expect(server.requests.map(({ url }) => new URL(url).search)).toEqual(['', '?poll=1'])
  expect(changes.map(({ state }) => state)).toEqual(['connecting'])
  stream.close()
  expect(clock.pending).toBe(0)
})

test('a server that knows no polls, and answers one with a stream, is read as a stream', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) => answer(number === 1 ? [HANG] : [event('hello', '1'), HANG]))
  const changes: StateChange[] = []
  const items: StreamItem[] = []
  const stream = connect(url, { clock, fetch: server.fetch, onState: (change) => changes.push(change) })
  void (async () => {
    for await (const item of stream) items.push(item)
  })()
  await clock.advance(60_000)
  expect(items).toMatchObject([{ data: 'hello' }])
  expect(changes.at(-1)).toMatchObject({ state: 'open', mode: 'stream' })
  expect(server.requests).toHaveLength(2)
  stream.close()
})

test('polls that are answered with nothing, and too early, make no hammer', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([ready({ resumed: 'new' })]))
  const stream = connect(url, { clock, fetch: server.fetch })
  await clock.advance(600_000)
  expect(server.requests.length).toBeLessThan(70)
  stream.close()
  expect(clock.pending).toBe(0)
})

test('close ends polls and probes alike, and leaves nothing behind', async () => {
  for (const at of [10_500, 12_000, 42_000, 45_000, 70_000]) {
    const it = scene()
    it.path.faults = [WHOLE]
    const stream = it.start()
    await it.clock.advance(at)
    stream.close()
    await it.hub.close()
    await it.clock.advance(1)
    expect(it.clock.pending).toBe(0)
  }
})

test.each([
  ['fallback none', { fallback: 'none' as const }],
  ['a POST', { method: 'POST' }],
])('%s never polls', async (_, options) => {
  const it = scene(options)
  it.path.faults = [WHOLE]
  const stream = it.start()
  await it.clock.advance(120_000)
  expect(it.path.polls).toBe(0)
  stream.close()
})

test('another fallback is a TypeError that names it', () => {
  expect(() => connect(url, { fallback: 'websocket' as 'poll' })).toThrow(/`fallback`.*'poll'.*'none'/)
})

/** Brings `first`, and then a comment every three seconds, `count` times. */
function* dribble(clock: ReturnType<typeof virtualClock>, first: string, count: number) {
  yield first
  for (let n = 0; n < count; n++) {
    yield new Promise<string>((resolve) => clock.setTimeout(() => resolve(': still here\n\n'), 3_000))
  }
}

const isPoll = (address: string) => address.includes('poll=')

test('a poll that goes on bringing bytes is given up in the end, and so is a probe that says nothing', async () => {
  const clock = virtualClock()
  let polls = 0
  let streams = 0
  const server = scripted(({ url: address, answer, cursor }) => {
    if (!isPoll(address)) return answer(++streams === 1 ? [HANG] : dribble(clock, ': no stream\n\n', 10_000))
    const first = ready({ resumed: cursor === null ? 'new' : 'ok' }, cursor ?? 'e.0') + event('x', `e.${++polls}`)
    return answer(dribble(clock, first, polls === 3 ? 10_000 : 1))
  })
  const stream = connect(url, { fetch: server.fetch, clock })
  void collect(stream)
  await clock.advance(1_800_000)
  expect(polls).toBeGreaterThan(100)
  expect(streams).toBeGreaterThan(4)
  stream.close()
  await clock.advance(5_000)
  expect(clock.pending).toBe(0)
})

test('a poll that is cut after `maxAge` is followed at once, the first one too', async () => {
  const clock = virtualClock()
  const delays: (number | undefined)[] = []
  const maxAge = 'event: stream:end\ndata: {"reason":"maxAge"}\n\n'
  const server = scripted(({ url: address, answer }) =>
    answer(isPoll(address) ? [ready({}, 'e.0'), event('x', 'e.1'), maxAge] : [HANG]),
  )
  const stream = connect(url, {
    fetch: server.fetch,
    clock,
    onState: ({ state, delayMs }) => state === 'waiting' && delays.push(delayMs),
  })
  await clock.advance(12_000)
  expect(delays[0]).toBeLessThanOrEqual(250)
  stream.close()
})

test('a head that nothing follows is given up after `silenceMs`, whether or not polls were tried meanwhile', async () => {
  const clock = virtualClock()
  const changes: StateChange[] = []
  const server = scripted(({ url: address, answer }) =>
    isPoll(address) ? new Response('', { status: 400 }) : answer([HANG]),
  )
  const onState = (change: StateChange) => changes.push(change)
  const stream = connect(url, { fetch: server.fetch, clock, silenceMs: 20_000, onState })
  await clock.advance(19_999)
  expect(changes.at(-1)?.state).toBe('connecting')
  await clock.advance(1)
  expect(changes.at(-1)).toMatchObject({ state: 'waiting', reason: 'no byte for 20000 ms' })
  stream.close()
})
