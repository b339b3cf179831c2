import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { Frames } from '../support/raw-reader.js'
import { turns, until } from '../support/turns.js'
import { numbers, publishMany } from '../support/world.js'

const KIB = 1024

/** A response of a web handler, read when the test says so. */
async function setUp(init: RequestInit = {}, path = '/') {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore({ maxBytes: 64 * KIB * KIB }), clock })
  const reasons: string[] = []
  const handler = sse(hub, { stream: () => 's', onClose: (_, reason) => reasons.push(reason) })
  const response = await handler(new Request(`http://x${path}`, init))
  const reader = response.body?.getReader()
  const frames = new Frames()
  const readOne = async () => {
    const part = await reader?.read()
    if (part?.value) frames.push(part.value)
    return part?.done === false
  }
  return { clock, hub, handler, reasons, reader, frames, readOne, [Symbol.asyncDispose]: () => hub.close() }
}

test('a reader that reads slowly gets everything in order, once, while more is published', async () => {
  await using it = await setUp()
  const publishing = (async () => {
    for (let n = 1; n <= 200; n++) await it.hub.publish('s', { data: `${n} ${'x'.repeat(10 * KIB)}` })
  })()
  while (it.frames.events.length < 200) {
    await it.readOne()
    await turns(1)
  }
  await publishing
  expect(it.frames.events.map((data) => data.split(' ', 1)[0])).toEqual(numbers(1, 200))
  expect(it.frames.names).not.toContain('stream:gap')
})

test('a body that nobody reads holds little, and fails after the write deadline', async () => {
  await using it = await setUp()
  for (let n = 1; n <= 200; n++) await it.hub.publish('s', { data: 'x'.repeat(10 * KIB) })
  await turns(5)
  expect(it.hub.stats().connections).toBe(1)
  await it.clock.advance(29_999)
  expect(it.reasons).toEqual([])
  await it.clock.advance(1)
  expect(it.reasons).toEqual(['WRITE_TIMEOUT'])
  await expect(it.readOne()).rejects.toMatchObject({ code: 'CLOSED' })
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0 })
})

test('a request that is aborted is a client that left', async () => {
  const leaving = new AbortController()
  await using it = await setUp({ signal: leaving.signal })
  await it.readOne()
  leaving.abort()
  expect(it.reasons).toEqual(['client'])
  await expect(it.readOne()).rejects.toThrow()
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0 })
})

test('heartbeats reach a quiet body', async () => {
  await using it = await setUp()
  await it.readOne()
  const beating = it.readOne()
  await it.clock.advance(15_100)
  await beating
  expect(it.frames.comments).toHaveLength(1)
})

test('a seal ends the body, and its cursor is then answered 204', async () => {
  await using it = await setUp({}, '/?from=earliest')
  await publishMany(it.hub, 's', 3)
  await it.hub.seal('s')
  await until(() => it.reasons.length > 0)
  while (await it.readOne()) {}
  expect(it.frames.names).toEqual(['stream:ready', 'message', 'message', 'message', 'stream:end'])
  const cursor = it.frames.frames[3]?.id ?? ''
  const again = await it.handler(new Request('http://x/', { headers: { 'last-event-id': cursor } }))
  expect(again.status).toBe(204)
  expect(again.body).toBeNull()
  const rest = await it.handler(new Request(`http://x/?lastEventId=${it.frames.frames[2]?.id}`))
  expect(await rest.text()).toContain('data: 3\n')
})
