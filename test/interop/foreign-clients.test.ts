import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { listen, type Served } from '../support/served.js'
import { numbers, pathOf } from '../support/world.js'
import { cutBeforeLast, fetchCutBeforeLast, rawResponse } from './cutting.js'
import { type ForeignClient, foreignClients, type Handed } from './foreign-clients.js'

const events = [
  { data: 'one' },
  { event: 'named', data: 'two ä漢😀' },
  { data: 'three, line 1\nline 2' },
  { event: 'named', data: '{"four":4}' },
  { data: ' five: with a space ' },
  { data: 'six' },
]
const expected = events.map(({ event = 'message', data }) => `${event}: ${data}`)

let hub: Hub
let served: Served
let port = 0
let complete: Buffer

beforeAll(async () => {
  hub = createHub({ store: memoryStore({ maxEvents: 8 }), retryMs: [1, 1], heartbeatMs: 60_000 })
  served = await listen(sse(hub, { stream: pathOf }))
  port = 'port' in served.address ? served.address.port : 0
  await hub.publish('sealed', events)
  await hub.seal('sealed')
  complete = await rawResponse(port, '/sealed?from=earliest')
})

afterAll(async () => {
  await hub.close()
  await served[Symbol.asyncDispose]()
})

/** Everything but control frames, as short texts, until the client stops by itself. */
async function readToTheEnd(client: ForeignClient, url: string, options: { fetch?: typeof fetch } = {}) {
  const all: Handed[] = []
  const { over } = client.read(url, { ...options, onEvent: (handed) => all.push(handed) })
  await over
  return all.filter(({ event }) => !event.startsWith('stream:')).map(({ event, data }) => `${event}: ${data}`)
}

/** @param left - how many bytes the first response lacks. Counted from its end, for `stream:ready` is not always of one length. */
async function readCut(client: ForeignClient, left: number): Promise<string[]> {
  const proxy = await cutBeforeLast(port, left)
  try {
    return await readToTheEnd(client, `${proxy.url}/sealed?from=earliest`)
  } finally {
    proxy.close()
  }
}

/** Whether a response that lacks so many bytes ends between the line of an event's id and the empty line after it. */
function endsAfterId(left: number): boolean {
  const text = complete.subarray(0, -left).toString('latin1')
  return text.includes('data: one') && /\nid: [^\n]*\n$/.test(text)
}

/** Every byte up to the second event, and every `step`th of the rest; of the head, where nothing is parsed, some. */
function positions(step: number): number[] {
  const [head, second] = [complete.indexOf('\r\n\r\n') + 4, complete.indexOf('data: three')]
  const bytes = Array.from({ length: complete.length }, (_, index) => index)
  return bytes
    .filter((each) => (each < head ? each % 60 === 0 : each < second || each % step === 0))
    .map((each) => complete.length - each)
}

describe.each(foreignClients)('$name', (client) => {
  test('is handed every event once, in order, and stops at the 204 of a sealed stream', async () => {
    expect(await readToTheEnd(client, `http://127.0.0.1:${port}/sealed?from=earliest`)).toEqual(expected)
  })

  test('is handed what is published while it reads, whatever ends its connections', async () => {
    const name = `live-${client.name.replaceAll('/', '-')}`
    const seen: string[] = []
    let opened = () => {}
    const isOpen = new Promise<void>((resolve) => {
      opened = resolve
    })
    const { over } = client.read(`http://127.0.0.1:${port}/${name}`, {
      onEvent({ event, data }) {
        if (event === 'stream:ready') opened()
        if (event === 'message') seen.push(data)
      },
    })
    await isOpen
    for (let n = 1; n <= 30; n++) {
      await hub.publish(name, { data: String(n) })
      if (n % 5 === 0) hub.disconnect(({ stream }) => stream === name)
      // Retention is of eight events: it waits for its reader.
      await vi.waitUntil(() => seen.length >= n - 6, { interval: 1, timeout: 10_000 })
    }
    await hub.seal(name)
    await over
    expect(seen).toEqual(numbers(1, 30))
  })

  test('resumes after a cut at any byte: every event once, in order', { timeout: 60_000 }, async () => {
    const isFetchEventSource = client.name === '@microsoft/fetch-event-source'
    const queue = positions(isFetchEventSource ? 1 : 5).filter((left) => !(isFetchEventSource && endsAfterId(left)))
    expect(queue.length).toBeGreaterThan(isFetchEventSource ? 500 : 250)
    const wrong: unknown[] = []
    const worker = async () => {
      for (let left = queue.shift(); left !== undefined; left = queue.shift()) {
        const got = await readCut(client, left)
        if (got.join('|') !== expected.join('|')) wrong.push({ left, got })
      }
    }
    await Promise.all(Array.from({ length: 32 }, worker))
    expect(wrong).toEqual([])
  })

  test('sees a gap as the event stream:gap, before what follows it', async () => {
    const name = `gap-${client.name.replaceAll('/', '-')}`
    const [first] = await hub.publish(
      name,
      Array.from({ length: 12 }, (_, n) => ({ data: String(n + 1) })),
    )
    await hub.seal(name)
    const seen: string[] = []
    const url = `http://127.0.0.1:${port}/${name}?lastEventId=${first?.cursor}`
    await client.read(url, { onEvent: ({ event, data }) => seen.push(`${event} ${data}`) }).over
    expect(seen[0]).toMatch(/^stream:ready .*"resumed":"gap"/)
    expect(seen.slice(1, 3)).toEqual(['stream:gap {"reason":"expired","missed":3}', 'message 5'])
    expect(seen.slice(-2)).toEqual(['message 12', 'stream:end {"reason":"sealed"}'])
  })
})

describe('what @microsoft/fetch-event-source loses by itself', () => {
  const [client] = foreignClients.filter(({ name }) => name === '@microsoft/fetch-event-source')

  test('the one event whose id it has read, when the response breaks before the empty line that completes it', async () => {
    const body = Buffer.from(await (await fetch(`http://127.0.0.1:${port}/sealed?from=earliest`)).arrayBuffer())
    const url = `http://127.0.0.1:${port}/sealed?from=earliest`
    for (const [index, { data }] of events.entries()) {
      const id = body.indexOf('\nid: ', body.indexOf(data.split('\n')[0] ?? ''))
      const left = body.length - body.indexOf('\n\n', id) - 1
      const got = client && (await readToTheEnd(client, url, { fetch: fetchCutBeforeLast(left) }))
      expect(got).toEqual(expected.filter((_, event) => event !== index))
      // One byte more, and nothing is lost.
      expect(client && (await readToTheEnd(client, url, { fetch: fetchCutBeforeLast(left - 1) }))).toEqual(expected)
      expect(client && (await readToTheEnd(client, url, { fetch: fetchCutBeforeLast(left + 1) }))).toEqual(expected)
    }
  })
})
