import { beforeEach, expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { connect } from '../../src/client/index.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { listen, type Served } from '../support/served.js'
import { nginx } from './kinds.js'
import { skipWithout, startProxy } from './proxy.js'

beforeEach((context) => skipWithout(nginx, context))

test('a client that lands on another process with a memory store of its own is told by a gap epoch, each time', async () => {
  await using a = await startProcess()
  await using b = await startProcess()
  await using balancer = await startProxy(nginx, 'round-robin', { first: a.port, second: b.port })
  await a.publish('a1', 'a2', 'a3')
  await b.publish('b1', 'b2')

  const items: StreamItem[] = []
  const stream = connect(`${balancer.url}/?from=earliest`)
  const next = async (count: number) => {
    const iterator = stream[Symbol.asyncIterator]()
    for (let n = 0; n < count; n++) items.push((await iterator.next()).value as StreamItem)
    return items.slice(-count).map(nameOf)
  }

  expect(await next(3)).toEqual(['a1', 'a2', 'a3'])
  a.cut()
  // First of all the gap, then what this process has, and what it is given from now on.
  expect(await next(3)).toEqual(['gap epoch', 'b1', 'b2'])
  await b.publish('b3')
  expect(await next(1)).toEqual(['b3'])
  const read = new Set(items.map(({ id }) => id))
  expect(read.size, 'no id comes twice').toBe(items.length)

  // Back again: the other stream is as foreign now as this one was, and begins anew behind a gap of its own.
  await a.publish('a4')
  b.cut()
  expect(await next(5)).toEqual(['gap epoch', 'a1', 'a2', 'a3', 'a4'])
  stream.close()
  expect([a.hub.stats(), b.hub.stats()]).toMatchObject([{ gaps: 1 }, { gaps: 1 }])
})

test('a quiet stream on another process is no silence: the gap comes at once', async () => {
  await using a = await startProcess()
  await using b = await startProcess()
  await using balancer = await startProxy(nginx, 'round-robin', { first: a.port, second: b.port })
  const stream = connect(balancer.url)
  await stream.ready
  const first = stream[Symbol.asyncIterator]().next()
  a.cut()
  expect(nameOf((await first).value as StreamItem)).toBe('gap epoch')
  expect(b.hub.stats().connections).toBe(1)
  stream.close()
})

interface Process extends AsyncDisposable {
  readonly hub: Hub
  readonly port: number
  publish(...texts: readonly string[]): Promise<void>
  /** Breaks off all that is open. */
  cut(): void
}

/** As far as a client can tell, a process: a hub with a memory store and a port of its own. */
async function startProcess(): Promise<Process> {
  const hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  const served: Served = await listen(sse(hub, { stream: () => 's' }))
  return {
    hub,
    port: (served.address as { port: number }).port,
    async publish(...texts) {
      await hub.publish(
        's',
        texts.map((data) => ({ data })),
      )
    },
    cut() {
      for (const socket of served.sockets) socket.destroy()
    },
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]()
      await hub.close()
    },
  }
}

function nameOf(item: StreamItem): string {
  return item.type === 'event' ? item.data : `gap ${item.reason}`
}
