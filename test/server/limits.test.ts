import { describe, expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn } from '../support/sink.js'

const url = 'http://example.com/'

describe('maxConnections', () => {
  test('answers 503 with Retry-After to the one too many, and leaves the others alone', async () => {
    await using hub = createHub({ store: memoryStore(), maxConnections: 2 })
    const handler = sse(hub, { stream: () => 's' })
    const first = await handler(new Request(url))
    const second = await handler(new Request(url))
    for (let i = 0; i < 10; i++) {
      const refused = await handler(new Request(url))
      expect(refused.status).toBe(503)
      expect(refused.headers.get('retry-after')).toMatch(/^[1-5]$/)
    }
    expect(hub.stats()).toMatchObject({ connections: 2, opened: 2 })
    await first.body?.cancel()
    expect((await handler(new Request(url))).status).toBe(200)
    await second.body?.cancel()
  })

  test('counts those who are joining, and gives the place back when a join fails or ends in 204', async () => {
    const store = memoryStore()
    const watch = store.watch.bind(store)
    let isAway = true
    store.watch = (...given) => (isAway ? Promise.reject(new Error('away')) : watch(...given))
    await using hub = createHub({ store, maxConnections: 1 })
    const handler = sse(hub, { stream: () => 's' })
    const both = await Promise.all([handler(new Request(url)), handler(new Request(url))])
    expect(both.map(({ status }) => status)).toEqual([503, 503])
    isAway = false
    await hub.seal('s')
    const { head } = await hub.read('s')
    const request = () => new Request(url, { headers: { 'last-event-id': head } })
    for (let i = 0; i < 3; i++) expect((await handler(request())).status).toBe(204)
    expect((await handler(new Request('http://example.com/?from=earliest'))).status).toBe(200)
  })

  test('HEAD takes no place', async () => {
    await using hub = createHub({ store: memoryStore(), maxConnections: 1 })
    const handler = sse(hub, { stream: () => 's' })
    for (let i = 0; i < 3; i++) expect((await handler(new Request(url, { method: 'HEAD' }))).status).toBe(200)
    expect((await handler(new Request(url))).status).toBe(200)
  })
})

describe('maxAgeMs', () => {
  test('ends each connection at a moment of the last fifth of its age, saying so', async () => {
    const clock = virtualClock()
    await using hub = createHub({ store: memoryStore(), clock, maxAgeMs: 100_000 })
    const sinks = await Promise.all(Array.from({ length: 100 }, () => openOn(hub, 's')))
    await clock.advance(79_999)
    expect(hub.stats().connections).toBe(100)
    await clock.advance(10_000)
    expect(hub.stats().connections).toBeGreaterThan(20)
    expect(hub.stats().connections).toBeLessThan(80)
    await clock.advance(10_001)
    expect(hub.stats()).toMatchObject({ connections: 0, closed: { maxAge: 100 } })
    for (const sink of sinks)
      expect(sink.frames.at(-1)).toMatchObject({ event: 'stream:end', data: '{"reason":"maxAge"}' })
  })

  test('a client comes back at once and misses nothing', async () => {
    const clock = virtualClock()
    await using hub = createHub({ store: memoryStore(), clock, maxAgeMs: 10_000 })
    const handler = sse(hub, { stream: () => 's' })
    const got: string[] = []
    const delays: number[] = []
    const stream = connect(url, {
      clock,
      fetch: (input, init) => handler(new Request(input, init)),
      onState: ({ delayMs }) => void (delayMs !== undefined && delays.push(delayMs)),
    })
    const reading = (async () => {
      for await (const item of stream) got.push(item.type === 'event' ? item.data : item.reason)
    })()
    await clock.advance(0)
    for (let i = 0; i < 100; i++) {
      await hub.publish('s', { data: String(i) })
      await clock.advance(1_000)
    }
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => String(i)))
    expect(delays.length).toBeGreaterThan(8)
    for (const delay of delays) expect(delay).toBeLessThanOrEqual(250)
    stream.close()
    await reading
  })

  test('a connection that ends before leaves no timer', async () => {
    const clock = virtualClock()
    const hub = createHub({ store: memoryStore(), clock, maxAgeMs: 100_000 })
    const sink = await openOn(hub, 's')
    sink.leave()
    await hub.close()
    expect(clock.pending).toBe(0)
  })
})

describe('replay', () => {
  async function world(choose: () => 'replay' | 'skip' | Promise<'replay' | 'skip'>) {
    const hub = createHub({ store: memoryStore() })
    const [first] = await hub.publish('s', [{ data: 'a' }, { data: 'b' }, { data: 'c' }])
    const replay = vi.fn((_request: Request, _context: { behind: number }) => choose())
    const handler = sse(hub, { stream: () => 's', replay })
    const read = async (cursor: string | undefined, enough: string) => {
      const headers = cursor === undefined ? {} : { 'last-event-id': cursor }
      const reader = (await handler(new Request(url, { headers }))).body?.getReader()
      let text = ''
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
        text += new TextDecoder().decode(value)
        if (done || text.includes(enough)) break
      }
      await reader?.cancel()
      return text
    }
    return { hub, replay, read, handler, cursor: first?.cursor ?? '' }
  }

  test('skip gives a returning client one gap with the exact number, then what follows', async () => {
    const { hub, replay, read, cursor } = await world(() => 'skip')
    const pending = read(cursor, 'data: d')
    await new Promise((resolve) => setImmediate(resolve))
    await hub.publish('s', { data: 'd' })
    const text = await pending
    expect(text).toContain('{"reason":"limit","missed":2}')
    expect(text).not.toContain('data: b')
    expect(replay).toHaveBeenCalledTimes(1)
    expect(replay.mock.calls[0]?.[1]).toEqual({ behind: 2 })
    await hub.close()
  })

  test('skip on a sealed stream still gives the end', async () => {
    const { hub, read, cursor } = await world(() => Promise.resolve('skip'))
    await hub.seal('s')
    const text = await read(cursor, 'never')
    expect(text).toContain('{"reason":"limit","missed":2}')
    expect(text).toContain('{"reason":"sealed"}')
    await hub.close()
  })

  test('replay replays', async () => {
    const { hub, read, cursor } = await world(() => 'replay')
    const text = await read(cursor, 'data: c')
    expect(text).toContain('"resumed":"ok"')
    expect(text).toContain('data: b')
    await hub.close()
  })

  test('is not asked about a client that is new or caught up', async () => {
    const { hub, replay, read } = await world(() => 'skip')
    await read(undefined, 'stream:ready')
    const { head } = await hub.read('s')
    expect(await read(head, 'stream:ready')).toContain('"resumed":"ok"')
    expect(replay).not.toHaveBeenCalled()
    await hub.close()
  })

  test('what it throws is answered like what stream throws', async () => {
    const { hub, handler, cursor } = await world(() => {
      throw Object.assign(new Error('no'), { status: 403 })
    })
    const response = await handler(new Request(url, { headers: { 'last-event-id': cursor } }))
    expect(response.status).toBe(403)
    expect(hub.stats().streams).toBe(0)
    await hub.close()
  })
})
