import { once } from 'node:events'
import http from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createParser } from 'eventsource-parser'
import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { type Address, read } from '../support/raw-reader.js'
import { drain, isBlocked, listen } from '../support/served.js'
import { turns, until } from '../support/turns.js'
import { numbers } from '../support/world.js'

const KIB = 1024
const MIB = 1024 * KIB

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

/** Counts numbered events as they come, and keeps nothing. */
async function countingReader(address: Address) {
  const counts = { seen: 0, inOrder: true }
  const parser = createParser({
    onEvent: ({ event, data }) => {
      if (event !== undefined) return
      counts.seen++
      counts.inOrder &&= Number.parseInt(data, 10) === counts.seen
    },
  })
  const request = http.get({ ...address, agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.setEncoding('utf8').on('data', (text: string) => parser.feed(text))
  response.on('error', () => {})
  return { counts, response }
}

test('a reader that stops costs a number, not a buffer, and is cut after the write deadline', async () => {
  const STORE = 4 * MIB
  const RING = MIB
  const EVENTS = 20_000
  const text = 'x'.repeat(4 * KIB - 8)
  const clock = virtualClock()
  const closed: [string, string][] = []
  const hub = createHub({ store: memoryStore({ maxBytes: STORE }), ringBytes: RING, clock, writeTimeoutMs: 30_000 })
  await using served = await listen(
    sse(hub, { stream: () => 's', onClose: ({ id }, reason) => closed.push([id, reason]) }),
    { unix: true },
  )
  const stalled = await read(served.address)
  await stalled.until(({ frames }) => frames.length === 1)
  stalled.response.pause()
  const stalledId = stalled.json('stream:ready').connection
  const healthy = await countingReader(served.address)

  const before = await memory()
  for (let n = 1; n <= EVENTS; n++) {
    await hub.publish('s', { data: `${String(n).padStart(7)} ${text}` })
    if (n % 100 === 0) await until(() => healthy.counts.seen > n - 200)
  }
  await until(() => healthy.counts.seen === EVENTS)
  expect((await memory()) - before).toBeLessThan(STORE + RING + 8 * MIB)
  expect(healthy.counts.inOrder).toBe(true)

  // Not a moment before the deadline, and not much after.
  await clock.advance(29_000)
  expect(closed).toEqual([])
  await clock.advance(2_000)
  expect(closed).toEqual([[stalledId, 'WRITE_TIMEOUT']])
  expect(hub.stats()).toMatchObject({ connections: 1, closed: { WRITE_TIMEOUT: 1 } })
  stalled.response.resume()
  await stalled.end()
  expect(stalled.complete).toBe(false)

  await hub.publish('s', { data: String(EVENTS + 1) })
  await until(() => healthy.counts.seen === EVENTS + 1)
  expect(healthy.counts.inOrder).toBe(true)
  healthy.response.destroy()
  await served.idle()
  for (const res of served.responses) expect(res.listenerCount('drain')).toBe(0)
  expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
  await hub.close()
  expect(clock.pending).toBe(0)
}, 30_000)

test('in real time too a stalled reader is cut writeTimeoutMs after it blocked', async () => {
  const WRITE_TIMEOUT_MS = 300
  await using hub = createHub({ store: memoryStore(), writeTimeoutMs: WRITE_TIMEOUT_MS })
  let close: (reason: string) => void = () => {}
  const closed = new Promise<string>((resolve) => {
    close = resolve
  })
  await using served = await listen(sse(hub, { stream: () => 's', onClose: (_, reason) => close(reason) }), {
    unix: true,
  })
  const stalled = await read(served.address)
  stalled.response.pause()
  const [res] = served.responses
  while (!isBlocked(res)) {
    await hub.publish('s', { data: 'x'.repeat(60 * KIB) })
    await turns(5)
  }
  const blocked = performance.now()
  expect(await closed).toBe('WRITE_TIMEOUT')
  expect(performance.now() - blocked).toBeGreaterThan(WRITE_TIMEOUT_MS / 2)
  expect(performance.now() - blocked).toBeLessThan(WRITE_TIMEOUT_MS + 1_000)
})

test('a reader that drains just before each deadline lives, and gets everything in order, once', async () => {
  const EVENTS = 300
  const clock = virtualClock()
  const hub = createHub({
    store: memoryStore({ maxBytes: 64 * MIB }),
    clock,
    writeTimeoutMs: 5_000,
    ringBytes: 64 * KIB,
  })
  await using served = await listen(sse(hub, { stream: () => 's', from: 'earliest' }), { unix: true })
  for (let n = 1; n <= EVENTS; n++) await hub.publish('s', { data: `${n} ${'x'.repeat(20 * KIB)}` })
  const drip = await read(served.address)
  drip.response.pause()
  const [res] = served.responses
  let episodes = 0
  for (await turns(20); isBlocked(res); await turns(20)) {
    episodes++
    await clock.advance(4_900)
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
  expect(hub.stats().connections).toBe(1)
  drip.destroy()
  await served.idle()
  await hub.close()
  expect(clock.pending).toBe(0)
})

test('a process that slept does not cut those who may be ready by now', async () => {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock, writeTimeoutMs: 30_000 })
  await using served = await listen(sse(hub, { stream: () => 's' }), { unix: true })
  const reader = await read(served.address)
  reader.response.pause()
  const [res] = served.responses
  while (!isBlocked(res)) {
    await hub.publish('s', { data: 'x'.repeat(60 * KIB) })
    await turns(5)
  }
  clock.jump(3_600_000)
  await clock.advance(0)
  const drained = drain(res as http.ServerResponse)
  reader.response.resume()
  await drained
  await clock.advance(5_000)
  expect(hub.stats().connections).toBe(1)
  reader.destroy()
  await served.idle()
  await hub.close()
})
