import { once } from 'node:events'
import http from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createGunzip } from 'node:zlib'
import { expect } from 'vitest'
import type { SseEvent } from '../../src/protocol/event.js'
import type { DirectConnection } from '../../src/server/direct.js'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtual-clock.js'
import { type Address, Frames, RawReader, read } from '../support/raw-reader.js'
import { drain, isBlocked, type Served, type ServeOptions } from '../support/served.js'
import { FarStore } from '../support/stores.js'
import { turns, until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'
import type { Harness, Mounting, Told } from './contract-harness.js'
import type { ServedHttp2 } from './contract-http2.js'

/** One thing that holds for every adapter. */
export interface Cell {
  readonly statement: string
  readonly http2?: boolean
  /** A server may write of it to the console, as of a response that was cut. */
  readonly logs?: boolean
  run(harness: Harness): Promise<void>
}

const PROMPT_MS = 300
const KIB = 1024
const MIB = 1024 * KIB

// Some servers put a class of their own in its place; what `fetch` brings stays of this one.
const NativeResponse = globalThis.Response

interface World<Serving> extends AsyncDisposable {
  readonly clock: VirtualClock
  readonly store: FarStore
  readonly hub: Hub
  readonly served: Serving
  /** The reasons of all connections that are over. */
  readonly closed: string[]
  /** Waits until everything is over, and looks for what is left. */
  leavesNothing(): Promise<void>
}

interface WorldOptions extends Mounting {
  readonly hubOptions?: Partial<HubOptions>
  readonly serve?: ServeOptions
}

async function world<Serving extends AsyncDisposable>(
  { hubOptions, serve, ...mounting }: WorldOptions,
  mount: (mounting: Mounting, serve: ServeOptions | undefined) => Promise<Serving>,
): Promise<World<Serving>> {
  const clock = virtualClock()
  const store = new FarStore(memoryStore({ maxBytes: MIB }), clock)
  const hub = createHub({ store, clock, ...hubOptions })
  const closed: string[] = []
  const stream: Mounting['stream'] = { onClose: (_, reason) => void closed.push(reason), ...mounting.stream }
  const served = await mount({ hub, ...mounting, stream }, serve)
  return {
    clock,
    store,
    hub,
    served,
    closed,
    async leavesNothing() {
      await until(() => hub.stats().connections + hub.stats().streams === 0)
      expect(store.watching).toBe(0)
      await hub.close()
      expect(clock.pending).toBe(0)
    },
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]()
      await hub.close()
    },
  }
}

const at = (harness: Harness, options: WorldOptions = {}): Promise<World<Served & Told>> =>
  world(options, (mounting, serve) => harness.mount(mounting, serve))

const atHttp2 = (harness: Harness, options: WorldOptions = {}): Promise<World<ServedHttp2 & Told>> =>
  world(options, (mounting) => harness.mountHttp2(mounting))

/** Sends JSON and resolves with the head. */
function post(address: Address, body: unknown): Promise<RawReader> {
  const headers = { 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    http
      .request({ ...address, host: '127.0.0.1', path: '/s', method: 'POST', headers, agent: false }, (response) =>
        resolve(new RawReader(response)),
      )
      .on('error', reject)
      .end(JSON.stringify(body))
  })
}

/** Asks, and leaves before there is an answer. */
function ask(address: Address): http.ClientRequest {
  return http.get({ ...address, host: '127.0.0.1', path: '/s', agent: false }).on('error', () => {})
}

/** Asks for a stream that may be compressed, and reads what was packed. */
export async function readUnpacked(address: Address) {
  const headers = { 'accept-encoding': 'gzip' }
  const request = http.get({ ...address, host: '127.0.0.1', path: '/s', headers, agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const encoding = response.headers['content-encoding']
  const frames = new Frames()
  const body = encoding === 'gzip' ? response.pipe(createGunzip()) : response
  body.on('data', (chunk: Buffer) => frames.push(chunk)).on('error', () => {})
  return Object.assign(frames, { encoding, destroy: () => void response.destroy() })
}

function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

async function promptly(what: Promise<unknown>): Promise<void> {
  const asked = performance.now()
  await what
  expect(performance.now() - asked).toBeLessThan(PROMPT_MS)
}

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** The bytes that are held, once garbage is collected. */
async function memory(): Promise<number> {
  // What was freed in one turn may hold what is only freed in the next.
  for (let round = 0; round < 3; round++) {
    collect()
    await turns()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const throwing = (error: unknown) => ({
  stream: () => {
    throw error
  },
})

const BEFORE = [
  ['access-control-allow-origin', 'https://app.example'],
  ['set-cookie', 'a=1; Path=/'],
  ['set-cookie', 'b=2'],
] as const

function expectBefore({ response }: RawReader): void {
  expect(response.headers['access-control-allow-origin']).toBe('https://app.example')
  expect(response.headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2'])
}

/** Fills a stalled reader, lets the write deadline pass and returns what was held meanwhile. */
async function stall(it: World<unknown>): Promise<number> {
  const before = await memory()
  const text = 'x'.repeat(64 * KIB)
  for (let n = 0; n < 400; n++) await it.hub.publish('s', { data: text })
  await turns(20)
  const held = (await memory()) - before
  await it.clock.advance(29_000)
  expect(it.closed).toEqual([])
  await it.clock.advance(2_000)
  return held
}

// The store and the ring hold 1 MiB each; the rest is room for noise. Published are 25 MiB.
const MAX_HELD = 8 * MIB

export const cells: readonly Cell[] = [
  {
    statement: 'GET: head, ready and events, and a cursor resumes',
    async run(harness) {
      await using it = await at(harness)
      const cursors = await publishMany(it.hub, 's', 3)
      const reader = await read(it.served.address, '/s', { cursor: cursors[1] })
      await it.hub.publish('s', { data: '4' })
      await reader.until(({ events }) => events.length === 3)
      expect(reader.status).toBe(200)
      expect(reader.response.headers).toMatchObject({
        'content-type': 'text/event-stream',
        'cache-control': 'no-cache, no-transform',
        'x-accel-buffering': 'no',
      })
      expect(reader.json('stream:ready').resumed).toBe('ok')
      expect(reader.events).toEqual(numbers(2, 4))
      reader.destroy()
      await until(() => it.closed.length > 0)
      expect(it.closed).toEqual(['client'])
      await it.leavesNothing()
    },
  },
  {
    statement: 'a quiet stream: head and first frame within 300 ms',
    async run(harness) {
      await using it = await at(harness)
      await promptly(read(it.served.address, '/s').then((reader) => reader.until(({ frames }) => frames.length === 1)))
    },
  },
  {
    statement: 'HEAD: the head of the stream, and nothing is joined or called',
    async run(harness) {
      await using it = await at(harness)
      const head = await (await read(it.served.address, '/s', { method: 'HEAD' })).end()
      expect(head.status).toBe(200)
      expect(head.response.headers['content-type']).toBe('text/event-stream')
      expect(it.store.calls).toEqual({ append: 0, open: 0, read: 0, watch: 0, seal: 0 })

      let called = 0
      const events = () => {
        called++
        return (async function* (): AsyncGenerator<SseEvent> {})()
      }
      await using its = await harness.mount({ events })
      expect((await (await read(its.address, '/s', { method: 'HEAD' })).end()).status).toBe(200)
      expect(called).toBe(0)
    },
  },
  {
    statement: 'HEAD is refused as GET is',
    async run(harness) {
      const { stream } = throwing(Object.assign(new Error('no'), { status: 403 }))
      await using it = await at(harness, { stream: { stream } })
      expect((await (await read(it.served.address, '/s', { method: 'HEAD' })).end()).status).toBe(403)
    },
  },
  {
    statement: 'POST with a body already parsed: the stream stays open, and the body is there',
    async run(harness) {
      const bodies: unknown[] = []
      const stream = async (request: unknown) => {
        bodies.push(await harness.bodyOf(request))
        return harness.pathOf(request)
      }
      await using it = await at(harness, { parsed: true, stream: { stream } })
      const reader = await post(it.served.address, { prompt: 'hello' })
      await turns(20)
      await it.hub.publish('s', { data: '1' })
      await reader.until(({ events }) => events.length === 1)
      expect(bodies).toEqual([{ prompt: 'hello' }])
      expect(it.closed).toEqual([])
      reader.destroy()
      await until(() => it.closed.length > 0)
      expect(it.closed).toEqual(['client'])
      await it.leavesNothing()

      const events = async function* (request: unknown) {
        const { prompt } = (await harness.bodyOf(request)) as { prompt: string }
        for (const data of [prompt, 'world']) {
          await turns(10)
          yield { data }
        }
      }
      await using its = await harness.mount({ events, parsed: true })
      const answer = await (await post(its.address, { prompt: 'hello' })).end()
      expect(answer.events).toEqual(['hello', 'world'])
      expect(answer.complete).toBe(true)
    },
  },
  {
    statement: 'HTTP/2: head, ready and events at once; neither Connection nor Transfer-Encoding',
    http2: true,
    async run(harness) {
      const headers = { connection: 'close', 'transfer-encoding': 'chunked', 'keep-alive': 'timeout=5' }
      await using it = await atHttp2(harness, { stream: { headers } })
      await promptly(it.served.read('/s').then((reader) => reader.until(({ frames }) => frames.length === 1)))
      const reader = await it.served.read('/s')
      await reader.until(({ frames }) => frames.length === 1)
      await it.hub.publish('s', { data: '1' })
      await reader.until(({ events }) => events.length === 1)
      expect(reader.events).toEqual(['1'])
      const { date: _, ...head } = reader.headers
      expect(Object.fromEntries(Object.entries(head))).toEqual({
        ':status': 200,
        'content-type': 'text/event-stream',
        'cache-control': 'no-cache, no-transform',
        'x-accel-buffering': 'no',
      })
      await it.hub.seal('s')
      await reader.end()
      expect(reader.names.at(-1)).toBe('stream:end')
      expect(reader.complete).toBe(true)
      await it.leavesNothing()
    },
  },
  {
    statement: 'HTTP/2: HEAD, a refusal, and a client that leaves',
    http2: true,
    async run(harness) {
      const stream = (request: unknown) => {
        if (harness.pathOf(request) === 'no') throw Object.assign(new Error('no'), { status: 403 })
        return 's'
      }
      await using it = await atHttp2(harness, { stream: { stream } })
      expect((await (await it.served.read('/no')).end()).status).toBe(403)
      const head = await (await it.served.read('/s', { method: 'HEAD' })).end()
      expect(head.status).toBe(200)
      expect(it.store.calls.watch).toBe(0)
      const reader = await it.served.read('/s')
      await reader.until(({ frames }) => frames.length === 1)
      reader.leave()
      await until(() => it.closed.length > 0)
      expect(it.closed).toEqual(['client'])
      await it.leavesNothing()
    },
  },
  {
    statement: 'HTTP/2: a stalled reader is cut at the write deadline, WRITE_TIMEOUT, and memory is bounded',
    http2: true,
    logs: true,
    async run(harness) {
      await using it = await atHttp2(harness)
      const reader = await it.served.read('/s')
      await reader.until(({ frames }) => frames.length === 1)
      reader.pause()
      expect(await stall(it)).toBeLessThan(MAX_HELD)
      expect(it.closed).toEqual(['WRITE_TIMEOUT'])
      reader.resume()
      await reader.end()
      expect(reader.names).not.toContain('stream:end')
      await it.leavesNothing()
    },
  },
  {
    statement: 'a client that leaves before the head, while `stream` is asked, leaves nothing',
    async run(harness) {
      let answer = (_: string) => {}
      let asked = false
      const stream = () => {
        asked = true
        return new Promise<string>((resolve) => {
          answer = resolve
        })
      }
      await using it = await at(harness, { stream: { stream } })
      const request = ask(it.served.address)
      await until(() => asked)
      request.destroy()
      await it.served.idle()
      await turns()
      answer('s')
      await turns(10)
      expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0, opened: 0 })
      expect([it.closed, it.served.errors]).toEqual([[], []])
      await it.leavesNothing()
    },
  },
  {
    statement: 'a client that leaves while joining cancels the join and leaves nothing',
    async run(harness) {
      for (const verb of ['watch', 'open'] as const) {
        await using it = await at(harness)
        it.store.stuck.add(verb)
        const request = ask(it.served.address)
        await until(() => it.store.calls[verb] > 0)
        expect(it.hub.stats().streams).toBe(1)
        request.destroy()
        await it.served.idle()
        await until(() => it.hub.stats().streams === 0)
        expect(it.hub.stats()).toMatchObject({ connections: 0, opened: 0 })
        expect([it.closed, it.served.errors]).toEqual([[], []])
        await it.leavesNothing()
      }
    },
  },
  {
    statement: 'a stalled reader is cut at the write deadline, WRITE_TIMEOUT, and memory is bounded',
    logs: true,
    async run(harness) {
      await using it = await at(harness, { serve: { unix: true } })
      const reader = await read(it.served.address, '/s')
      await reader.until(({ frames }) => frames.length === 1)
      reader.response.pause()
      expect(await stall(it)).toBeLessThan(MAX_HELD)
      expect(it.closed).toEqual(['WRITE_TIMEOUT'])
      reader.response.resume()
      await reader.end()
      expect(reader.complete).toBe(false)
      expect(reader.bytes).toBeLessThan(2 * MIB)
      await it.served.idle()
      await it.leavesNothing()
    },
  },
  {
    statement: 'a reader that takes a drip before each deadline lives, and gets everything',
    async run(harness) {
      const EVENTS = 200
      const store = memoryStore({ maxBytes: 64 * MIB })
      await using it = await at(harness, {
        hubOptions: { store, writeTimeoutMs: 5_000, ringBytes: 64 * KIB },
        stream: { from: 'earliest' },
        serve: { unix: true },
      })
      for (let n = 1; n <= EVENTS; n++) await it.hub.publish('s', { data: `${n} ${'x'.repeat(20 * KIB)}` })
      const drip = await read(it.served.address, '/s')
      drip.response.pause()
      const [res] = it.served.responses
      let episodes = 0
      for (await turns(20); isBlocked(res); await turns(20)) {
        episodes++
        await it.clock.advance(4_900)
        const drained = drain(res as http.ServerResponse)
        drip.response.resume()
        await drained
        drip.response.pause()
      }
      drip.response.resume()
      await drip.until(({ events }) => events.length === EVENTS)
      expect(episodes).toBeGreaterThan(5)
      expect(drip.events.map((data) => data.split(' ', 1)[0])).toEqual(numbers(1, EVENTS))
      expect(drip.names).not.toContain('stream:gap')
      expect(it.closed).toEqual([])
      drip.destroy()
      await it.leavesNothing()
    },
  },
  {
    statement: 'thrown before the head: a `Response`, of whichever class, is the answer',
    async run(harness) {
      for (const Class of [globalThis.Response, NativeResponse]) {
        const headers = { location: '/login', 'set-cookie': 'c=3' }
        const { stream } = throwing(new Class('go there', { status: 302, headers }))
        await using it = await at(harness, { stream: { stream }, before: BEFORE })
        const answer = await (await read(it.served.address, '/s')).end()
        expect([answer.status, answer.body]).toEqual([302, 'go there'])
        expect(answer.response.headers.location).toBe('/login')
        expect(answer.response.headers['access-control-allow-origin']).toBe('https://app.example')
        expect(new Set(answer.response.headers['set-cookie'])).toEqual(new Set(['a=1; Path=/', 'b=2', 'c=3']))
        expect(it.served.errors).toEqual([])
        await it.leavesNothing()
      }
    },
  },
  {
    statement: 'thrown before the head: an error with a status is that status with its headers',
    async run(harness) {
      const error = Object.assign(new Error('secret'), { statusCode: 429, headers: { 'retry-after': '7' } })
      await using it = await at(harness, { stream: throwing(error) })
      const answer = await (await read(it.served.address, '/s')).end()
      expect([answer.status, answer.body]).toEqual([429, ''])
      expect(answer.response.headers['retry-after']).toBe('7')
      expect(it.served.errors).toEqual([])

      await using its = await harness.mount({
        events: () => {
          throw error
        },
      })
      expect((await (await read(its.address, '/s')).end()).status).toBe(429)
      await it.leavesNothing()
    },
  },
  {
    statement: 'thrown before the head: anything else goes to the error path of the framework',
    async run(harness) {
      const error = new Error('broken')
      await using it = await at(harness, { stream: throwing(error) })
      const answer = await (await read(it.served.address, '/s')).end()
      expect(answer.status).toBe(500)
      expect(answer.response.headers['content-type']).not.toBe('text/event-stream')
      expect(it.served.errors).toEqual([error])

      await using its = await harness.mount({
        // biome-ignore lint/correctness/useYield: it throws before it could
        events: async function* () {
          throw error
        },
      })
      expect((await (await read(its.address, '/s')).end()).status).toBe(500)
      expect(its.errors).toEqual([error])
      await it.leavesNothing()

      // Frameworks take some of these for something else.
      for (const thrown of [undefined, 'route', { status: 200 }]) {
        await using odd = await at(harness, { stream: throwing(thrown) })
        expect((await (await read(odd.served.address, '/s')).end()).status).toBe(500)
        expect(odd.served.errors).toHaveLength(1)
      }
    },
  },
  {
    statement: 'what is no stream (204, 400, 503) is answered through the framework',
    async run(harness) {
      await using it = await at(harness, { before: BEFORE })
      const { cursor } = await it.hub.publish('s', { data: '1' })
      await it.hub.seal('s')
      const done = await (await read(it.served.address, '/s', { cursor })).end()
      const bad = await (await read(it.served.address, '/s?from=sideways')).end()
      it.store.fails = () => true
      const away = await (await read(it.served.address, '/other')).end()
      expect([done.status, bad.status, away.status]).toEqual([204, 400, 503])
      expect(away.response.headers).toHaveProperty('retry-after')
      for (const answer of [done, bad, away]) expectBefore(answer)
    },
  },
  {
    statement: 'thrown after the head, the client is told `error`, `onError` hears of it, and the process lives',
    async run(harness) {
      const error = Object.assign(new Error('broken'), { status: 403 })
      const events = async function* () {
        yield { data: '1' }
        await turns()
        throw error
      }
      await using it = await harness.mount({ events })
      for (const count of [1, 2]) {
        const reader = await (await read(it.address, '/s')).end()
        expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])
        expect(reader.json('stream:end')).toEqual({ reason: 'error' })
        expect(it.reported).toEqual(Array(count).fill(error))
      }
    },
  },
  {
    statement: 'an `onOpen` that throws ends one connection, reason error, and no other',
    async run(harness) {
      const error = new Error('broken')
      const onOpen = ({ request }: { request: unknown }) => {
        if (harness.pathOf(request) === 'bad') throw error
      }
      await using it = await at(harness, { stream: { onOpen } })
      const good = await read(it.served.address, '/good')
      const bad = await (await read(it.served.address, '/bad')).end()
      expect(bad.json('stream:end')).toEqual({ reason: 'error' })
      expect(it.closed).toEqual(['error'])
      expect(it.served.reported).toEqual([error])
      await it.hub.publish('good', { data: '1' })
      await good.until(({ events }) => events.length === 1)
    },
  },
  {
    statement: 'events that never end are returned, and their signal aborted, when the client has gone',
    async run(harness) {
      const log: string[] = []
      const events = (_: unknown, { signal }: { signal: AbortSignal }): AsyncIterable<SseEvent> => {
        void abortOf(signal).then(() => log.push('aborted'))
        let asked = 0
        return {
          [Symbol.asyncIterator]: () => ({
            next: () =>
              asked++ === 0 ? Promise.resolve({ value: { data: '1' }, done: false }) : new Promise(() => {}),
            return: async () => {
              log.push('returned')
              return { value: undefined, done: true }
            },
          }),
        }
      }
      const clock = virtualClock()
      await using it = await harness.mount({ events, direct: { clock } })
      const reader = await read(it.address, '/s')
      await reader.until(({ events }) => events.length === 1)
      reader.destroy()
      await until(() => log.length === 2)
      expect(log.sort()).toEqual(['aborted', 'returned'])
      await it.idle()
      expect(clock.pending).toBe(0)
      expect(it.reported).toEqual([])
    },
  },
  {
    statement: 'openSSE: sends arrive, close ends, and a client that leaves is known',
    async run(harness) {
      const clock = virtualClock()
      const open: DirectConnection[] = []
      await using it = await harness.mount({
        opened: (connection) => open.push(connection),
        direct: { clock },
        before: BEFORE,
      })
      const reader = await read(it.address, '/s')
      expectBefore(reader)
      await reader.until(({ frames }) => frames.length === 1)
      await open[0]?.send({ data: '1' })
      open[0]?.close()
      await reader.end()
      expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])

      const leaver = await read(it.address, '/s')
      await leaver.until(({ frames }) => frames.length === 1)
      leaver.destroy()
      if (open[1]) await abortOf(open[1].signal)
      expect(open.map(({ reason }) => reason)).toEqual(['sealed', 'client'])

      const head = await (await read(it.address, '/s', { method: 'HEAD' })).end()
      expect([head.status, head.response.headers['content-type']]).toEqual([200, 'text/event-stream'])
      await it.idle()
      expect(clock.pending).toBe(0)
    },
  },
  {
    statement: 'the log of the framework sees streams and refusals',
    async run(harness) {
      const stream = (request: unknown) => {
        if (harness.pathOf(request) === 'no') throw Object.assign(new Error('no'), { status: 403 })
        return 's'
      }
      await using it = await at(harness, { stream: { stream } })
      const reader = await read(it.served.address, '/s')
      await reader.until(({ frames }) => frames.length === 1)
      await it.hub.seal('s')
      await reader.end()
      await (await read(it.served.address, '/no')).end()
      await until(() => it.served.log.length === 2)
      expect(it.served.log).toEqual([200, 403])
    },
  },
  {
    statement: 'what earlier middleware set (CORS, two cookies) is in the head of streams and refusals',
    async run(harness) {
      const stream = (request: unknown) => {
        if (harness.pathOf(request) === 'no') throw Object.assign(new Error('no'), { status: 403 })
        return 's'
      }
      await using it = await at(harness, { stream: { stream }, before: BEFORE })
      const reader = await read(it.served.address, '/s')
      expectBefore(reader)
      expect(reader.response.headers['content-type']).toBe('text/event-stream')
      expectBefore(await (await read(it.served.address, '/no')).end())
      expectBefore(await (await read(it.served.address, '/s', { method: 'HEAD' })).end())
      reader.destroy()
      await it.leavesNothing()
    },
  },
  {
    statement: 'a compressing middleware in front leaves the stream prompt, and as it is',
    async run(harness) {
      await using it = await at(harness, { compressed: true })
      const headers = { 'accept-encoding': 'gzip' }
      const reader = await read(it.served.address, '/s', { headers })
      await promptly(reader.until(({ frames }) => frames.length === 1))
      expect(reader.response.headers).not.toHaveProperty('content-encoding')
      await it.hub.publish('s', { data: '1' })
      await promptly(reader.until(({ events }) => events.length === 1))
    },
  },
  {
    statement: 'without `no-transform` it is prompt even where it is compressed',
    async run(harness) {
      await using it = await at(harness, { compressed: true, stream: { headers: { 'cache-control': 'no-cache' } } })
      const reader = await readUnpacked(it.served.address)
      await promptly(until(() => reader.frames.length === 1))
      await it.hub.publish('s', { data: '1' })
      await promptly(until(() => reader.events.length === 1))
      reader.destroy()
      await it.leavesNothing()
    },
  },
]
