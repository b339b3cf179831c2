import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { createSession } from 'better-sse'
import { EventSource } from 'eventsource'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { HttpResponse, http, sse } from 'msw'
import { setupServer } from 'msw/node'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type ConnectOptions, connect } from '../../src/client/index.js'
import { type Clock, systemClock } from '../../src/protocol/clock.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { listen } from '../support/served.js'

/** Time for an impatient test: every wait is a fiftieth. */
const fast: Clock = { now: systemClock.now, setTimeout: (run, ms, hold) => systemClock.setTimeout(run, ms / 50, hold) }

const texts = ['one', 'two ä漢😀', 'three, line 1\nline 2', '{"four":4}', ' five: with a space ', 'six']

/** Everything until the stream ends by itself. */
async function readAll(url: string, options: ConnectOptions = {}): Promise<StreamItem[]> {
  const items: StreamItem[] = []
  for await (const item of connect(url, { clock: fast, connectTimeoutMs: 500_000, silenceMs: 5_000_000, ...options }))
    items.push(item)
  return items
}

const short = (items: readonly StreamItem[]) =>
  items.map((item) => (item.type === 'event' ? `${item.event}: ${item.data}` : `gap ${item.reason}`))

/** The number of the next event for a client that holds `lastEventId`. */
const nextOf = (lastEventId: unknown) => (typeof lastEventId === 'string' ? Number(lastEventId) + 1 : 0)

describe('a plain node:http server', () => {
  const spellings: [name: string, newline: string, colon: string][] = [
    ['LF', '\n', ': '],
    ['CRLF', '\r\n', ': '],
    ['CR', '\r', ': '],
    ['LF, and no space after the colon', '\n', ':'],
  ]
  test.each(spellings)(
    'that ends its lines with %s, and cuts each response inside a character',
    async (_, newline, colon) => {
      const asked: unknown[] = []
      await using served = await listen((req, res) => {
        const from = nextOf(req.headers['last-event-id'])
        asked.push(req.headers['last-event-id'])
        if (from >= texts.length) return void res.writeHead(204).end()
        res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
        const frames = texts.slice(from).map((text, index) => {
          // A space at the beginning belongs to the data only if another one stands in front of it.
          const lines = text
            .split('\n')
            .map((line) => `data${colon}${colon === ':' && line.startsWith(' ') ? ' ' : ''}${line}`)
          return [`id${colon}${from + index}`, 'event:named', ...lines, ': a comment', 'unknown: field', '', ''].join(
            newline,
          )
        })
        const bytes = Buffer.from(`\ufeff:${newline}retry${colon}100${newline}${newline}${frames.join('')}`)
        const two = Buffer.from(`\ufeff:${newline}retry${colon}100${newline}${newline}${frames[0]}`).length
        // The next frame, up to the middle of its data.
        res.write(bytes.subarray(0, from === texts.length - 1 ? bytes.length : two + 27), () => res.destroy())
      })
      const { port } = served.address as AddressInfo
      const items = await readAll(`http://127.0.0.1:${port}/`)
      expect(short(items)).toEqual(texts.map((text) => `named: ${text}`))
      expect(asked).toEqual([undefined, ...texts.map((_, index) => String(index))])
      expect(items.map(({ id }) => id)).toEqual(texts.map((_, index) => String(index)))
    },
  )

  test('that gives no ids is read, and what a cut swallows is not made up', async () => {
    let requests = 0
    await using served = await listen((_, res) => {
      requests++
      if (requests > 2) return void res.writeHead(204).end()
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.write(`retry: 100\n\ndata: ${requests}\n\ndata: half`, () => res.destroy())
    })
    const { port } = served.address as AddressInfo
    const items = await readAll(`http://127.0.0.1:${port}/`)
    expect(short(items)).toEqual(['message: 1', 'message: 2'])
    expect(items.map(({ id }) => id)).toEqual(['', ''])
  })

  test('that answers 503, 429 and a broken head first', async () => {
    let requests = 0
    await using served = await listen((_, res) => {
      requests++
      if (requests === 1) return void res.writeHead(503).end('busy')
      if (requests === 2) return void res.writeHead(429, { 'retry-after': '1' }).end()
      if (requests === 3) return void res.destroy()
      if (requests > 4) return void res.writeHead(204).end()
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: at last\n\n')
    })
    const { port } = served.address as AddressInfo
    expect(short(await readAll(`http://127.0.0.1:${port}/`))).toEqual(['message: at last'])
  })

  test('whose events are named like ours is not misunderstood', async () => {
    let requests = 0
    await using served = await listen((_, res) => {
      if (++requests > 1) return void res.writeHead(204).end()
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.end('data: first\n\nevent: stream:end\ndata: {"reason":"sealed"}\n\ndata: after\n\n')
    })
    const { port } = served.address as AddressInfo
    const items = short(await readAll(`http://127.0.0.1:${port}/`))
    expect(items).toEqual(['message: first', 'stream:end: {"reason":"sealed"}', 'message: after'])
  })
})

test('better-sse: its sessions are resumed by their lastId', async () => {
  const lastIds: string[] = []
  await using served = await listen(async (req, res) => {
    const from = nextOf(req.headers['last-event-id'])
    if (from >= texts.length) return void res.writeHead(204).end()
    const session = await createSession(req, res, { retry: 100, keepAlive: null })
    lastIds.push(session.lastId)
    for (const [index, text] of texts.entries()) {
      if (index >= from && index < from + 2) session.push({ text }, 'named', String(index))
    }
    setImmediate(() => res.destroy())
  })
  const { port } = served.address as AddressInfo
  const items = await readAll(`http://127.0.0.1:${port}/`)
  expect(items.map((item) => item.type === 'event' && item.json<{ text: string }>().text)).toEqual(texts)
  expect(lastIds).toEqual(['', '1', '3'])
})

test('hono streamSSE: what it writes is resumed by Last-Event-ID', async () => {
  const asked: unknown[] = []
  const app = new Hono().get('/', (context) => {
    const lastEventId = context.req.header('last-event-id')
    asked.push(lastEventId)
    const from = nextOf(lastEventId)
    if (from >= texts.length) return context.body(null, 204)
    return streamSSE(context, async (stream) => {
      for (const [index, data] of texts.entries()) {
        if (index >= from && index < from + 2)
          await stream.writeSSE({ data, event: 'named', id: String(index), retry: 100 })
      }
    })
  })
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  try {
    await new Promise<void>((resolve) => server.once('listening', resolve))
    const items = await readAll(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    expect(short(items)).toEqual(texts.map((text) => `named: ${text}`))
    expect(asked).toEqual([undefined, '1', '3', '5'])
  } finally {
    server.close()
  }
})

describe('endpoints mocked with msw', () => {
  const url = 'http://mocked.test/events'
  const encoder = new TextEncoder()

  async function mocked<T>(handler: Parameters<typeof setupServer>[0], run: () => Promise<T>): Promise<T> {
    const server = setupServer(handler)
    server.listen({ onUnhandledRequest: 'error' })
    try {
      return await run()
    } finally {
      server.close()
    }
  }

  test('answers in turn, bodies that end within a frame, and a 204', async () => {
    const asked: unknown[] = []
    const handler = http.get(url, ({ request }) => {
      const lastEventId = request.headers.get('last-event-id')
      asked.push(lastEventId)
      if (asked.length === 1) return new HttpResponse(null, { status: 503 })
      const from = nextOf(lastEventId)
      if (from >= texts.length) return new HttpResponse(null, { status: 204 })
      const lines = (texts[from] ?? '').split('\n').map((line) => `data: ${line}\n`)
      const body = encoder.encode(`retry: 100\n${lines.join('')}id: ${from}\n\ndata: ha`)
      return new HttpResponse(body, { headers: { 'content-type': 'text/event-stream' } })
    })
    const items = await mocked(handler, () => readAll(url))
    expect(short(items)).toEqual(texts.map((text) => `message: ${text}`))
    expect(asked).toEqual([null, null, ...texts.map((_, index) => String(index))])
  })

  test('its sse handlers', async () => {
    // They are offered only where there is one, though `fetch` is intercepted just as well.
    vi.stubGlobal('EventSource', EventSource)
    onTestFinished(() => void vi.unstubAllGlobals())
    let requests = 0
    const handler = sse<{ message: string; named: string }>(url, ({ client }) => {
      requests++
      if (requests === 2) return client.send({ event: 'named', id: '1', data: 'two' })
      client.send({ id: '0', data: 'one' })
      client.close()
    })
    const got = await mocked(handler, async () => {
      const stream = connect(url, { clock: fast, connectTimeoutMs: 500_000 })
      const items: StreamItem[] = []
      for await (const item of stream) {
        items.push(item)
        if (items.length === 2) break
      }
      return short(items)
    })
    expect(got).toEqual(['message: one', 'named: two'])
    expect(requests).toBe(2)
  })
})
