import { beforeEach, describe, expect, test } from 'vitest'
import { connect } from '../../src/client/index.js'
import type { StreamItem } from '../../src/protocol/event.js'
import type { Reason } from '../../src/server/connection.js'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type Harness, harnesses } from '../adapters/contract-harness.js'
import { type RawReader, read } from '../support/raw-reader.js'
import { nginx } from './kinds.js'
import { startNginx } from './nginx.js'
import { type RunningProxy, skipWithout } from './proxy.js'

/** What is seen later was held back. */
const PROMPT_MS = 300

beforeEach((context) => skipWithout(nginx, context))

for (const harness of harnesses) {
  describe(`behind the stock reverse proxy of nginx, ${harness.name}:`, () => {
    // More than one try, for the machine may be busy; what holds streams back does so each time.
    test('the head and each event are seen within 300 ms', { retry: 2 }, async () => {
      await using behind = await serveBehind(harness)
      const asked = performance.now()
      await using reader = await behind.read()
      const headMs = performance.now() - asked
      const eventMs: number[] = []
      for (let n = 1; n <= 5; n++) {
        const published = performance.now()
        await behind.hub.publish('s', { data: String(n) })
        await reader.until(({ events }) => events.length === n)
        eventMs.push(performance.now() - published)
      }
      console.log(`${harness.name}: head after ${Math.round(headMs)} ms, events after ${eventMs.map(Math.round)} ms`)
      expect(reader.response.headers['content-type']).toBe('text/event-stream')
      expect(reader.events).toEqual(['1', '2', '3', '4', '5'])
      expect(headMs).toBeLessThan(PROMPT_MS)
      expect(Math.max(...eventMs)).toBeLessThan(PROMPT_MS)
    })

    test('without x-accel-buffering nothing is seen until the end', async () => {
      await using behind = await serveBehind(harness, { headers: { 'x-accel-buffering': undefined } })
      const reading = behind.read()
      await behind.opened
      await behind.hub.publish('s', { data: '1' })
      const held = Symbol('held')
      const later = new Promise((resolve) => setTimeout(() => resolve(held), 2 * PROMPT_MS))
      expect(await Promise.race([reading, later])).toBe(held)
      await behind.hub.seal('s')
      const reader = await (await reading).end()
      expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])
    })

    test('a client whose proxy is restarted goes on where it was', async () => {
      await using behind = await serveBehind(harness)
      const { hub, proxy } = behind
      const stream = connect(proxy.url + PATH)
      await stream.ready
      await publish(hub, 's', 1, 3)
      const before = await take(stream, 3)
      await proxy.stop()
      await publish(hub, 's', 4, 3)
      await proxy.start()
      const after = await take(stream, 3)
      stream.close()
      expect([...before, ...after].map(nameOf)).toEqual(['1', '2', '3', '4', '5', '6'])
    })

    test('a client that leaves is noticed', async () => {
      await using behind = await serveBehind(harness)
      const reader = await behind.read()
      await behind.opened
      const left = performance.now()
      reader.destroy()
      expect(await behind.closed).toBe('client')
      console.log(`${harness.name}: noticed after ${Math.round(performance.now() - left)} ms`)
      await behind.upstreamIdle()
    })

    test('HEAD is answered with the head of the stream, and joins nothing', async () => {
      await using behind = await serveBehind(harness)
      const reader = await read(behind.proxy.address, PATH, { method: 'HEAD' })
      await reader.end()
      expect([reader.status, reader.response.headers['content-type'], reader.bytes]).toEqual([
        200,
        'text/event-stream',
        0,
      ])
      expect(behind.hub.stats()).toMatchObject({ opened: 0, streams: 0 })
    })

    test('heartbeats keep a quiet stream open beyond proxy_read_timeout, which else cuts it', async () => {
      await using beating = await serveBehind(harness, { idle: 1, hub: { heartbeatMs: 300 } })
      await using silent = await serveBehind(harness, { idle: 1 })
      await using kept = await beating.read()
      const cut = await silent.read()
      await Promise.all([cut.end(), kept.until(({ comments }) => comments.length >= 8)])
      expect(cut.complete).toBe(false)
      expect(await silent.closed).toBe('client')
      await publish(beating.hub, 's', 1, 1)
      await kept.until(({ events }) => events.length === 1)
    })
  })
}

const PATH = '/s'

interface Behind extends AsyncDisposable {
  readonly hub: Hub
  readonly proxy: RunningProxy
  /** The first connection is open. */
  readonly opened: Promise<void>
  /** Why the first connection is over. */
  readonly closed: Promise<Reason>
  read(): Promise<RawReader>
  /** Resolves when nginx has no connection to the server any more. */
  upstreamIdle(): Promise<void>
}

interface BehindOptions {
  readonly headers?: Record<string, undefined>
  readonly hub?: Partial<HubOptions>
  /** The proxy's limit for what is silent, in seconds. */
  readonly idle?: number
}

/** A hub, served by an adapter, with nginx in front. */
async function serveBehind(harness: Harness, { headers, hub: given, idle }: BehindOptions = {}): Promise<Behind> {
  const hub = createHub({ store: memoryStore(), retryMs: [100, 100], ...given })
  let onOpen = () => {}
  let onClose = (_: unknown, _reason: Reason) => {}
  const opened = new Promise<void>((resolve) => {
    onOpen = resolve
  })
  const closed = new Promise<Reason>((resolve) => {
    onClose = (_, reason) => resolve(reason)
  })
  const served = await harness.mount({
    hub,
    stream: { headers, onOpen, onClose },
  })
  const { port } = served.address as { port: number }
  const proxy = await startNginx(port, 'stock', { ...(idle && { idle }) })
  return {
    hub,
    proxy,
    opened,
    closed,
    read: () => read(proxy.address, PATH),
    upstreamIdle: () => served.idle(),
    async [Symbol.asyncDispose]() {
      await hub.close()
      await proxy[Symbol.asyncDispose]()
      await served[Symbol.asyncDispose]()
    },
  }
}

async function publish(hub: Hub, stream: string, first: number, count: number): Promise<void> {
  for (let n = first; n < first + count; n++) await hub.publish(stream, { data: String(n) })
}

async function take(stream: AsyncIterable<StreamItem>, count: number): Promise<StreamItem[]> {
  const iterator = stream[Symbol.asyncIterator]()
  const items: StreamItem[] = []
  while (items.length < count) {
    const { done, value } = await iterator.next()
    if (done) break
    items.push(value)
  }
  return items
}

function nameOf(item: StreamItem): string {
  return item.type === 'event' ? item.data : `gap ${item.reason}`
}
