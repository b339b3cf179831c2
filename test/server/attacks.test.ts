import { getEventListeners, once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { sse as webSse } from '../../src/adapters/web.js'
import type { Source } from '../../src/protocol/source.js'
import { createHub, writeSSE } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { scriptedWritable, virtualClock } from '../../src/testing/index.js'
import { openOn } from '../support/sink.js'

// Each was a way to break the promise, found from outside.

const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('a cursor that the ring reaches and the store does not is answered, also beyond maxReplay', async () => {
  await using hub = createHub({ store: memoryStore({ maxEvents: 50 }), maxReplay: 100 })
  await openOn(hub, 's') // keeps the ring
  const { cursor } = await hub.publish('s', { data: 'first' })
  for (let n = 0; n < 300; n++) await hub.publish('s', { data: String(n) })
  const returning = await openOn(hub, 's', { cursor })
  await turns(10)
  expect(returning.frames[1]).toMatchObject({ event: 'stream:gap', data: '{"reason":"limit","missed":200}' })
  expect(returning.events).toEqual(Array.from({ length: 100 }, (_, i) => String(200 + i)))
})

test('responses that were queued behind another on a connection end with it', async () => {
  await using hub = createHub({ store: memoryStore(), maxConnections: 100 })
  const server = http.createServer(sse(hub, { stream: () => 's' })).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const warned = vi.fn()
  process.on('warning', warned)
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(50))
  await once(socket, 'data')
  await turns(50)
  expect(hub.stats().connections).toBe(50)
  socket.destroy()
  while (hub.stats().connections > 0) await turns(1)
  expect(hub.stats()).toMatchObject({ streams: 0, closed: { client: 50 } })
  process.off('warning', warned)
  expect(warned).not.toHaveBeenCalled()
  server.close()
})

test('a pipe leaves nothing on its signal, however many events went through', async () => {
  await using hub = createHub({ store: memoryStore() })
  const { signal } = new AbortController()
  let most = 0
  async function* events() {
    for (let n = 0; n < 500; n++) {
      most = Math.max(most, getEventListeners(signal, 'abort').length)
      yield { data: String(n) }
    }
  }
  await hub.pipe('s', events(), { signal })
  expect(most).toBeLessThanOrEqual(1)
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
})

test('a connection that onOpen closes is told ready before the end', async () => {
  await using hub = createHub({ store: memoryStore() })
  const handler = webSse(hub, { stream: () => 's', onOpen: (connection) => connection.close() })
  const text = await (await handler(new Request('http://x/'))).text()
  expect(text.match(/event: (\S+)/g)).toEqual(['event: stream:ready', 'event: stream:end'])
  expect(hub.stats().closed.disconnected).toBe(1)
})

test('what a source does not await is bounded, and what is too much is a gap', async () => {
  const store = memoryStore()
  const append = store.append.bind(store)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  store.append = async (...given) => {
    await held
    return append(...given)
  }
  let bring: Parameters<Source['join']>[1] | undefined
  const source: Source = {
    join: async (_, to) => {
      bring = to
      return () => {}
    },
  }
  await using hub = createHub({ store, source, maxPendingBytes: 10_000 })
  const subscription = await hub.subscribe('s')
  const codes = new Map<string, number>()
  for (let n = 0; n < 1_000; n++) {
    bring
      ?.event({ data: 'x'.repeat(100) })
      .catch(({ code }: { code: string }) => codes.set(code, (codes.get(code) ?? 0) + 1))
  }
  release()
  await turns(20)
  const refused = codes.get('OVERLOADED') ?? 0
  expect(refused).toBeGreaterThan(900)
  const { items } = await hub.read('s', { limit: 1_000 })
  expect(items.at(-1)).toMatchObject({ type: 'gap', reason: 'source', missed: refused })
  expect(items).toHaveLength(1_000 - refused + 1)
  subscription.close()
})

test('un-awaited calls of a subscription are bounded', async () => {
  await using hub = createHub({ store: memoryStore() })
  const subscription = await hub.subscribe('s')
  const pending = Array.from({ length: 1_001 }, () => subscription.next())
  await expect(pending[1_000]).rejects.toMatchObject({ code: 'OVERLOADED' })
  subscription.close()
  await Promise.all(pending.slice(0, 1_000))
})

test('un-awaited tiny writes are bounded by their number, and aborted ones count while the target holds them', async () => {
  const clock = virtualClock()
  const target = scriptedWritable({ clock, script: () => 'never' })
  let overloaded = 0
  for (let n = 0; n < 5_000; n++) {
    writeSSE(target, { data: '' }, { clock }).catch(({ code }: { code: string }) => {
      if (code === 'OVERLOADED') overloaded++
    })
  }
  await turns(2)
  expect(overloaded).toBe(5_000 - 4_096)
  target.destroy()

  const other = scriptedWritable({ clock, script: () => 'never' })
  for (let n = 0; n < 3; n++) {
    const aborting = new AbortController()
    const write = writeSSE(
      other,
      { data: 'x'.repeat(1_000) },
      { clock, signal: aborting.signal, maxPendingBytes: 2_500 },
    )
    const outcome =
      n < 2 ? expect(write).rejects.toThrow('gone') : expect(write).rejects.toMatchObject({ code: 'OVERLOADED' })
    aborting.abort(new Error('gone'))
    await outcome
  }
  other.emit('drain')
  other.destroy()
  expect(clock.pending).toBe(0)
})

test.each(['throws', 'rejects'])('a store whose unwatch %s ends nothing but the watching', async (how) => {
  const store = memoryStore()
  store.watch = async () => () => {
    if (how === 'throws') throw new Error('away')
    return Promise.reject(new Error('away')) as never
  }
  await using hub = createHub({ store })
  const sink = await openOn(hub, 's')
  sink.leave()
  await turns(2)
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
})

test('a join that its client left asks nobody any more', async () => {
  await using hub = createHub({ store: memoryStore({ maxEvents: 1_000 }), maxReplay: 100 })
  let asked = 0
  let answer = () => {}
  const replay = () =>
    new Promise<'replay'>((resolve) => {
      asked++
      answer = () => resolve('replay')
    })
  const handler = webSse(hub, { stream: () => 's', replay })
  const { cursor } = await hub.publish('s', { data: '0' })
  for (let n = 0; n < 900; n++) await hub.publish('s', { data: String(n) })
  const leaving = new AbortController()
  const request = new Request('http://x/', { headers: { 'last-event-id': cursor }, signal: leaving.signal })
  const pending = handler(request)
  while (asked === 0) await turns(1)
  leaving.abort()
  await pending
  await hub.publish(
    's',
    Array.from({ length: 950 }, (_, n) => ({ data: String(n) })),
  )
  for (let i = 0; i < 20; i++) {
    answer()
    await turns(1)
  }
  expect(asked).toBe(1)
})

test('a reader that transfers the bytes it was given away takes them from nobody else', async () => {
  await using hub = createHub({ store: memoryStore() })
  const handler = webSse(hub, { stream: () => 's' })
  const thief = (await handler(new Request('http://x/'))).body?.getReader()
  const honest = await openOn(hub, 's')
  await hub.publish('s', [{ data: 'a' }, { data: 'b' }])
  for (let text = ''; !text.includes('data: b'); ) {
    const { value } = (await thief?.read()) ?? {}
    if (!value) break
    text += new TextDecoder().decode(value)
    structuredClone(value, { transfer: [value.buffer as ArrayBuffer] })
  }
  const late = await openOn(hub, 's', { from: 'earliest' })
  await turns(5)
  expect(honest.events).toEqual(['a', 'b'])
  expect(late.events).toEqual(['a', 'b'])
  await thief?.cancel()
})

test('an iterable whose return throws does not hide its error, nor the gap', async () => {
  await using hub = createHub({ store: memoryStore() })
  const events = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.reject(new Error('the real one')),
      return: () => {
        throw new Error('another')
      },
    }),
  }
  await expect(hub.pipe('s', events)).rejects.toThrow('the real one')
  expect((await hub.read('s')).items).toMatchObject([{ type: 'gap', reason: 'source' }])
})

test('the head of an error is passed on without what describes or belongs to another response', async () => {
  await using hub = createHub({ store: memoryStore() })
  const headers = { 'retry-after': '7', 'content-length': '170', 'Content-Encoding': 'gzip', 'set-cookie': 'a=b' }
  const stream = () => {
    throw Object.assign(new Error('upstream'), { status: 502, headers })
  }
  const response = await webSse(hub, { stream })(new Request('http://x/'))
  expect([...response.headers]).toEqual([['retry-after', '7']])
  expect(await response.text()).toBe('')
})

test('losses that a source tells of while it joins come after what it brought before them', async () => {
  const source: Source = {
    async join(_, to) {
      void to.event({ data: 'one' })
      to.lost(3)
      await to.event({ data: 'two' })
      return () => {}
    },
  }
  await using hub = createHub({ store: memoryStore(), source })
  const subscription = await hub.subscribe('s')
  const items = [await subscription.next(), await subscription.next(), await subscription.next()]
  expect(items.map(({ value }) => (value?.type === 'gap' ? value.missed : value?.data))).toEqual(['one', 3, 'two'])
  subscription.close()
})

test('an async onError that rejects, and a store that claims what it does not give, end nothing', async () => {
  const store = memoryStore()
  const read = store.read.bind(store)
  store.read = (stream, offset, options) => {
    const page = read(stream, offset, options) as Awaited<ReturnType<typeof read>>
    return page && { ...page, head: page.head + 5 }
  }
  await using hub = createHub({ store })
  const handler = webSse(hub, {
    stream: () => Promise.reject(new Error('no')),
    onError: () => Promise.reject(new Error('nor this')) as never,
  })
  expect((await handler(new Request('http://x/'))).status).toBe(500)
  const sink = await openOn(hub, 's')
  await hub.seal('s') // makes the tail look
  await turns(20)
  sink.leave()
})
