import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { sse as webSse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

const EVENTS = 200
const texts = Array.from({ length: EVENTS }, (_, i) => `event ${i} é`)

/** Passes a response on until `bytes` of its body are through, then breaks it off. */
function cutAfter(response: Response, bytes: number): Response {
  const reader = response.body?.getReader()
  let left = bytes
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
        if (done || !value) return controller.close()
        controller.enqueue(value.subarray(0, left))
        left -= value.length
        if (left > 0) return
        await reader?.cancel()
        controller.error(new TypeError('terminated'))
      },
      cancel: (reason) => reader?.cancel(reason),
    },
    { highWaterMark: 0 },
  )
  return new Response(body, response)
}

async function bodyLength(response: Response, enough: (text: string) => boolean): Promise<number> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  while (!enough(text)) text += decoder.decode((await reader?.read())?.value, { stream: true })
  await reader?.cancel()
  return new TextEncoder().encode(text).length
}

/** Reads to the last event with a client whose first `cuts` responses break off after `bytes`. */
async function readThroughCuts(
  handler: (request: Request) => Promise<Response>,
  url: string,
  options: { bytes: number; cuts: number; cursor?: string; last: string },
): Promise<StreamItem[]> {
  const clock = virtualClock()
  let responses = 0
  const stream = connect(url, {
    clock,
    cursor: options.cursor,
    fetch: async (input, init) => {
      const response = await handler(new Request(input, init))
      return responses++ < options.cuts ? cutAfter(response, options.bytes) : response
    },
  })
  const items: StreamItem[] = []
  let isDone = false
  const reading = (async () => {
    for await (const item of stream) {
      items.push(item)
      if (item.type === 'event' && item.data === options.last) break
    }
    isDone = true
  })()
  for (let i = 0; i < 40 && !isDone; i++) await clock.advance(1_000)
  stream.close()
  await reading
  expect(clock.pending).toBe(0)
  return items
}

test('a client cut at every byte of 200 events, twice each, is handed 200 events in order, each once', {
  timeout: 120_000,
}, async () => {
  await using hub = createHub({ store: memoryStore() })
  const handler = webSse(hub, { stream: () => 's' })
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  const url = 'https://example.com/?from=earliest'
  const length = await bodyLength(await handler(new Request(url)), (text) => text.split('event 199 ').length > 1)
  expect(length).toBeGreaterThan(8_000)
  for (let bytes = 0; bytes <= length; bytes++) {
    const items = await readThroughCuts(handler, url, { bytes, cuts: 2, last: texts[EVENTS - 1] ?? '' })
    const got = items.map((item) => (item.type === 'event' ? item.data : item.reason))
    expect(got, `cut after ${bytes} bytes`).toEqual(texts)
  }
})

test('a cut anywhere in a response that opens with a gap loses neither the gap nor an event', {
  timeout: 60_000,
}, async () => {
  await using hub = createHub({ store: memoryStore({ maxEvents: 20 }) })
  const handler = webSse(hub, { stream: () => 's' })
  const [first] = await hub.publish(
    's',
    texts.slice(0, 60).map((data) => ({ data })),
  )
  const cursor = first?.cursor ?? ''
  const url = 'https://example.com/'
  const head = await handler(new Request(url, { headers: { 'last-event-id': cursor } }))
  const length = await bodyLength(head, (text) => text.includes('event 59 '))
  for (let bytes = 0; bytes <= length; bytes++) {
    const items = await readThroughCuts(handler, url, { bytes, cuts: 2, cursor, last: texts[59] ?? '' })
    expect(items[0], `cut after ${bytes} bytes`).toMatchObject({ type: 'gap', reason: 'expired', missed: 39 })
    const got = items.slice(1).map((item) => (item.type === 'event' ? item.data : item.reason))
    expect(got, `cut after ${bytes} bytes`).toEqual(texts.slice(40, 60))
  }
})

/** Forwards to `port`, and destroys the connection after `bytes` of what comes back. */
function cuttingProxy(port: number, bytes: () => number): net.Server {
  return net.createServer((client) => {
    const upstream = net.connect(port)
    let left = bytes()
    client.on('data', (chunk) => upstream.write(chunk))
    upstream.on('data', (chunk) => {
      client.write(chunk.subarray(0, Math.max(left, 0)))
      left -= chunk.length
      if (left <= 0) client.end(() => client.destroy())
    })
    const both = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', both).on('close', both)
  })
}

test('over real sockets, cuts in the head, in frames and inside characters lose nothing', {
  timeout: 60_000,
}, async () => {
  await using hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  await hub.seal('s')
  const server = http.createServer(sse(hub, { stream: () => 's' })).listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const read = async (bytes: number) => {
    let attempts = 0
    const proxy = cuttingProxy(port, () => (attempts++ === 0 ? bytes : Number.POSITIVE_INFINITY)).listen(0)
    await once(proxy, 'listening')
    const got: string[] = []
    const { port: through } = proxy.address() as AddressInfo
    for await (const item of connect(`http://127.0.0.1:${through}/?from=earliest`)) {
      got.push(item.type === 'event' ? item.data : item.reason)
    }
    proxy.close()
    expect(got, `cut after ${bytes} bytes`).toEqual(texts)
  }
  const positions = Array.from({ length: 240 }, (_, i) => 1 + i * 41)
  for (let at = 0; at < positions.length; at += 60) await Promise.all(positions.slice(at, at + 60).map(read))
  server.closeAllConnections()
  server.close()
})
