import { expect, test } from 'vitest'
import { type IterableOptions, sse } from '../../src/adapters/node.js'
import { sse as webSse } from '../../src/adapters/web.js'
import type { SseEvent } from '../../src/protocol/event.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { type RawReader, type ReadOptions, read } from '../support/raw-reader.js'
import { abortOf, type Reading, readWeb } from '../support/reading.js'
import { listen } from '../support/served.js'
import { turns, until } from '../support/turns.js'

interface Context {
  signal: AbortSignal
  lastEventId: string | undefined
}
type Events = (request: unknown, context: Context) => AsyncIterable<SseEvent> | Promise<AsyncIterable<SseEvent>>

async function viaNode(events: Events, options: IterableOptions, asked: ReadOptions = {}): Promise<Reading> {
  const served = await listen(sse(events, options))
  const reader: RawReader = await read(served.address, '/?lastEventId=query', asked)
  return {
    status: reader.status,
    frames: reader,
    headers: reader.response.headers,
    over: async () => void (await reader.end()),
    until: (check) => reader.until(check),
    leave: () => reader.destroy(),
    [Symbol.asyncDispose]: () => served[Symbol.asyncDispose](),
  }
}

async function viaWeb(events: Events, options: IterableOptions, asked: ReadOptions = {}): Promise<Reading> {
  const headers = asked.cursor === undefined ? {} : { 'last-event-id': asked.cursor }
  const { method = 'GET' } = asked
  const response = await webSse(events, options)(new Request('http://x/?lastEventId=query', { headers, method }))
  return readWeb(response)
}

const adapters = [
  ['node', viaNode],
  ['web', viaWeb],
] as const

for (const [name, via] of adapters) {
  test(`${name}: events arrive in order after ready, and the end of the iterable is a seal`, async () => {
    async function* events() {
      for (let n = 1; n <= 5; n++) yield { data: String(n), id: `${n}`, event: 'tick' }
    }
    await using reader = await via(events, {})
    await reader.over()
    expect(reader.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    expect(reader.frames.names).toEqual(['stream:ready', ...Array(5).fill('tick'), 'stream:end'])
    expect(reader.frames.events).toEqual(['1', '2', '3', '4', '5'])
    expect(reader.frames.frames[3]?.id).toBe('3')
    expect(reader.frames.json('stream:end')).toEqual({ reason: 'sealed' })
  })

  test(`${name}: ready says heartbeatMs and time, and neither resumed nor an id`, async () => {
    const clock = virtualClock()
    await using reader = await via(async function* () {}, { clock, heartbeatMs: 7_000 })
    await reader.over()
    expect(reader.frames.json('stream:ready')).toEqual({
      connection: expect.any(String),
      heartbeatMs: 7_000,
      time: clock.now(),
    })
    expect(reader.frames.frames[0]).toMatchObject({ id: undefined, retry: expect.any(Number) })
    expect(clock.pending).toBe(0)
  })

  test(`${name}: the cursor comes from the header, else the query`, async () => {
    const got: string[] = []
    const events: Events = async function* (_, { lastEventId }) {
      yield { data: String(lastEventId) }
    }
    for (const cursor of ['header', undefined]) {
      await using reader = await via(events, {}, { cursor })
      await reader.over()
      got.push(...reader.frames.events)
    }
    expect(got).toEqual(['header', 'query'])
  })

  test(`${name}: HEAD is answered with the head, and the function is not called`, async () => {
    let called = 0
    const events: Events = async function* () {
      called++
      yield { data: 'nobody' }
    }
    await using reader = await via(events, {}, { method: 'HEAD' })
    await reader.over()
    expect(reader.status).toBe(200)
    expect(reader.headers['content-type']).toBe('text/event-stream')
    expect(called).toBe(0)
  })

  test(`${name}: a client that leaves aborts the signal and returns the iterable`, async () => {
    const clock = virtualClock()
    const log: string[] = []
    const events: Events = async function* (_, { signal }) {
      try {
        yield { data: '1' }
        await abortOf(signal)
        log.push('aborted')
        yield { data: 'nobody' }
      } finally {
        log.push('returned')
      }
    }
    await using reader = await via(events, { clock })
    await reader.until(({ events }) => events.length === 1)
    reader.leave()
    await until(() => log.length === 2)
    expect(log).toEqual(['aborted', 'returned'])
    await turns()
    expect(clock.pending).toBe(0)
  })

  test(`${name}: with 'drain' the iterable is read to its end after the client has left`, async () => {
    const clock = virtualClock()
    let n = 0
    let finished = false
    const events: Events = async function* (_, { signal }) {
      yield { data: 'first' }
      await abortOf(signal)
      for (; n < 100; n++) yield { data: String(n) }
      finished = true
    }
    await using reader = await via(events, { onDisconnect: 'drain', clock })
    await reader.until(({ events }) => events.length === 1)
    reader.leave()
    await until(() => finished)
    expect(n).toBe(100)
    await turns()
    expect(clock.pending).toBe(0)
  })

  test(`${name}: what is thrown before the head is an ordinary status`, async () => {
    const errors: unknown[] = []
    const onError = (error: unknown) => errors.push(error)
    const forbidden = Object.assign(new Error('no'), { status: 403 })
    const broken = new Error('broken')
    const throwing: Events[] = [
      () => {
        throw forbidden
      },
      () => Promise.reject(forbidden),
      // biome-ignore lint/correctness/useYield: it throws before it could
      async function* () {
        throw forbidden
      },
      // biome-ignore lint/correctness/useYield: it throws before it could
      async function* () {
        throw broken
      },
    ]
    const statuses: number[] = []
    for (const events of throwing) {
      await using reader = await via(events, { onError })
      await reader.over()
      statuses.push(reader.status)
    }
    expect(statuses).toEqual([403, 403, 403, 500])
    expect(errors).toEqual([broken])
  })

  test(`${name}: what is thrown after the head is an end \`error\`, and reported`, async () => {
    const errors: unknown[] = []
    const broken = Object.assign(new Error('broken'), { status: 403 })
    const events: Events = async function* () {
      yield { data: '1' }
      await turns()
      throw broken
    }
    await using reader = await via(events, { onError: (error) => errors.push(error) })
    await reader.over()
    expect(reader.status).toBe(200)
    expect(reader.frames.names).toEqual(['stream:ready', 'message', 'stream:end'])
    expect(reader.frames.json('stream:end')).toEqual({ reason: 'error' })
    expect(errors).toEqual([broken])
  })

  test(`${name}: an event that no frame can carry is an end \`error\`, and the iterable is returned`, async () => {
    const errors: unknown[] = []
    let returned = false
    const events: Events = async function* () {
      try {
        yield { data: '1' }
        yield { data: '2', event: 'a\nb' }
      } finally {
        returned = true
      }
    }
    await using reader = await via(events, { onError: (error) => errors.push(error) })
    await reader.over()
    await until(() => returned)
    expect(reader.frames.names).toEqual(['stream:ready', 'message', 'stream:end'])
    expect(errors).toEqual([expect.any(TypeError)])
  })

  test(`${name}: an idle iterable gets heartbeats`, async () => {
    const clock = virtualClock()
    const events: Events = async function* (_, { signal }) {
      await abortOf(signal)
      yield { data: 'nobody' }
    }
    await using reader = await via(events, { clock, heartbeatMs: 1_000 })
    await reader.until(({ frames }) => frames.length === 1)
    for (let beat = 1; beat <= 3; beat++) {
      await clock.advance(1_100)
      await reader.until(({ comments }) => comments.length >= beat)
    }
    expect(reader.frames.comments.length).toBeGreaterThanOrEqual(3)
  })
}

test('web: a client that leaves before the head aborts the signal', async () => {
  const leaving = new AbortController()
  let aborted = false
  const handler = webSse(
    async (_, { signal }) => {
      await abortOf(signal)
      aborted = true
      throw new Error('gone')
    },
    { onError() {} },
  )
  const answered = handler(new Request('http://x/', { signal: leaving.signal }))
  await turns()
  leaving.abort()
  await answered
  expect(aborted).toBe(true)
})
