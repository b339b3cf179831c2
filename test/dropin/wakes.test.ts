import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { describe, expect, test } from 'vitest'
import { inboxes, runAgent } from '../../examples/dropin/wakes.js'
import type { ConnectOptions } from '../../src/client/index.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type Fault, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { nginx } from '../proxies/kinds.js'
import { type NginxSite, startNginx } from '../proxies/nginx.js'
import { skipWithout } from '../proxies/proxy.js'
import { until } from '../support/turns.js'

const KEY = 'Bearer 1'
const HOLDS_ALL: Fault = { kind: 'buffering', bytes: Number.POSITIVE_INFINITY }
const MAIL = ['one', 'two', 'three']

/** A way to wake one agent, through a network with faults. */
interface Waking {
  put(text: string): Promise<unknown>
  /** Ends it all. */
  end(): Promise<unknown>
}
type MakeWaking = (clock: VirtualClock, faults: readonly Fault[], work: (mail: string) => void) => Waking

const dropIn =
  (options: ConnectOptions = {}): MakeWaking =>
  (clock, faults, work) => {
    const hub = createHub({ store: memoryStore(), clock })
    const { app, put } = inboxes(hub, new Map([[KEY, 'ada']]))
    const fetch = simulate((request) => app.fetch(request), { clock, faults })
    const stopping = new AbortController()
    const running = runAgent('http://hub.test', KEY, work, { fetch, clock, signal: stopping.signal, ...options })
    return {
      put: (text) => put('ada', text),
      async end() {
        stopping.abort()
        await running
        await hub.close()
      },
    }
  }

/** As it was: no byte before the first event, a watchdog that is armed by the head, and no other way than the stream. */
const streamOnly: MakeWaking = (clock, faults, work) => {
  const mail: string[] = []
  const open = new Set<ReadableStreamDefaultController<Uint8Array>>()
  const leaving = new AbortController()
  const serve = (request: Request) => {
    if (new URL(request.url).pathname === '/mail') return Response.json(mail.splice(0))
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void open.add(controller) })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
  const fetch = simulate(serve, { clock, faults })
  const run = async () => {
    const response = await fetch('http://hub.test/wakes', { signal: leaving.signal })
    const reader = response.body?.getReader()
    while (!(await reader?.read())?.done)
      for (const text of await (await fetch('http://hub.test/mail')).json()) work(text)
  }
  const running = run().catch(() => {})
  return {
    async put(text) {
      mail.push(text)
      for (const each of open) each.enqueue(new TextEncoder().encode('event: wake\ndata:\n\n'))
    },
    async end() {
      leaving.abort()
      await running
    },
  }
}

/** What is put into the inbox of an agent is worked on within a second, once the path is known. */
async function wakesTheAgent(make: MakeWaking, faults: readonly Fault[]): Promise<void> {
  const clock = virtualClock()
  const done: string[] = []
  const waking = make(clock, faults, (mail) => done.push(mail))
  try {
    await clock.advance(30_000)
    for (const [index, text] of MAIL.entries()) {
      await waking.put(text)
      await clock.advance(1_000)
      expect(done, 'asleep').toEqual(MAIL.slice(0, index + 1))
    }
  } finally {
    await waking.end()
  }
  expect(clock.pending, 'left behind').toBe(0)
}

describe('an inbox that wakes agents', () => {
  test('wakes them, whether a proxy streams or holds each response to its end', async () => {
    await wakesTheAgent(dropIn(), [])
    await wakesTheAgent(dropIn(), [HOLDS_ALL])
  })

  test('without the fallback to polls, the check is red', async () => {
    await wakesTheAgent(dropIn({ fallback: 'none' }), [])
    await expect(wakesTheAgent(dropIn({ fallback: 'none' }), [HOLDS_ALL])).rejects.toThrow('asleep')
  })

  test('in the shape that it replaces, the check is red', async () => {
    await wakesTheAgent(streamOnly, [])
    await expect(wakesTheAgent(streamOnly, [HOLDS_ALL])).rejects.toThrow('asleep')
  })

  test('a wake that is held is stored and written, and not taken for acknowledged', async () => {
    const clock = virtualClock()
    const hub = createHub({ store: memoryStore(), clock })
    const { app, put } = inboxes(hub, new Map([[KEY, 'ada']]))
    const path = (faults: Fault[]) => simulate((request) => app.fetch(request), { clock, faults })
    const stopping = new AbortController()
    const options = { clock, fallback: 'none' as const, connectTimeoutMs: 60_000, signal: stopping.signal }
    const agents = [path([HOLDS_ALL]), path([])].map((fetch) =>
      runAgent('http://hub.test', KEY, () => {}, { ...options, fetch }),
    )
    await clock.advance(1_000)
    await put('ada', 'one')
    await clock.advance(5_000)
    const [held, heard] = hub.delivery('wakes:ada')
    expect(held?.written).toBe(heard?.head)
    expect(held?.acknowledged).toBeNull()
    expect(heard?.acknowledged).toBe(heard?.head)
    stopping.abort()
    await Promise.all(agents)
    await hub.close()
  })

  test('an agent without a key gets an ordinary 401', async () => {
    const { app } = inboxes(createHub({ store: memoryStore() }), new Map())
    const response = await app.request('/wakes')
    expect([response.status, await response.json()]).toEqual([401, { error: 'unknown agent' }])
  })
})

describe('behind a real nginx', () => {
  interface Behind extends AsyncDisposable {
    readonly done: string[]
    put(text: string): Promise<unknown>
    /** Resolves after so many attempts that came to nothing. */
    failed(attempts: number): Promise<unknown>
    /** Resolves when the agent is connected. */
    connected(): Promise<unknown>
  }

  async function behind(site: NginxSite, given: ConnectOptions, headers?: Record<string, undefined>): Promise<Behind> {
    const hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
    const { app, put } = inboxes(hub, new Map([[KEY, 'ada']]), headers)
    const server = createServer(getRequestListener((request) => app.fetch(request))).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = await startNginx((server.address() as AddressInfo).port, site)
    const stopping = new AbortController()
    const done: string[] = []
    let waits = 0
    let isOpen = false
    const running = runAgent(proxy.url, KEY, (mail) => done.push(mail), {
      connectTimeoutMs: 300,
      signal: stopping.signal,
      onState({ state }) {
        if (state === 'waiting') waits++
        isOpen = state === 'open'
      },
      ...given,
    })
    return {
      done,
      put: (text) => put('ada', text),
      failed: (attempts) => until(() => waits >= attempts),
      connected: () => until(() => isOpen),
      async [Symbol.asyncDispose]() {
        stopping.abort()
        await running
        await hub.close()
        await proxy[Symbol.asyncDispose]()
        server.closeAllConnections()
        server.close()
      },
    }
  }

  test('that holds everything back, every wake is heard', async (context) => {
    skipWithout(nginx, context)
    await using held = await behind('deaf', {})
    await held.connected()
    for (const [index, text] of MAIL.entries()) {
      await held.put(text)
      await until(() => held.done.length === index + 1)
    }
    expect(held.done).toEqual(MAIL)
  })

  test('without the fallback, none is heard', async (context) => {
    skipWithout(nginx, context)
    await using held = await behind('deaf', { fallback: 'none' })
    await held.failed(1)
    await held.put('one')
    await held.failed(2)
    expect(held.done).toEqual([])
  })

  test('as it is installed, wakes are streamed, and without x-accel-buffering none is', async (context) => {
    skipWithout(nginx, context)
    await using passed = await behind('stock', { fallback: 'none' })
    await passed.connected()
    await passed.put('one')
    await until(() => passed.done.length === 1)
    await using held = await behind('stock', { fallback: 'none' }, { 'x-accel-buffering': undefined })
    await held.failed(1)
    await held.put('one')
    await held.failed(2)
    expect(held.done).toEqual([])
  })
})
