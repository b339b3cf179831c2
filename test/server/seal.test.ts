import { expect, test } from 'vitest'
import { openOn } from '../support/sink.js'
import { until } from '../support/turns.js'
import { numbers, publishMany, world } from '../support/world.js'

const TTL_MS = 100_000

test('204 if and only if the cursor is at the head of a sealed stream', async () => {
  await using it = await world({ stream: { from: 'earliest' } })
  const cursors = await publishMany(it.hub, 's', 5)
  const open = await it.read('/s', { cursor: cursors[5] })
  expect(open.status).toBe(200)
  open.destroy()
  await it.hub.seal('s')

  const complete = await it.read('/s', { cursor: cursors[5] })
  await complete.end()
  expect(complete.status).toBe(204)
  expect(complete.body).toBe('')

  for (const cursor of [undefined, cursors[1], cursors[4], 'other.5.5', 'what?']) {
    const reader = await it.read('/s', { cursor })
    await reader.end()
    expect(reader.status, cursor).toBe(200)
    expect(reader.json('stream:end')).toEqual({ reason: 'sealed' })
  }
  await it.served.idle()
  expect(it.hub.stats()).toMatchObject({ connections: 0, streams: 0 })
})

test('a cursor below the head of a sealed stream gives the rest, then the end, with no id on it', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 's', 5)
  await it.hub.seal('s')
  const reader = await (await it.read('/s', { cursor: cursors[2] })).end()
  expect(reader.names).toEqual(['stream:ready', 'message', 'message', 'message', 'stream:end'])
  expect(reader.events).toEqual(['3', '4', '5'])
  expect(reader.frames.at(-1)?.id).toBeUndefined()
  expect(reader.complete).toBe(true)
})

test('an expired cursor into a sealed stream is told the gap before the rest and the end', async () => {
  await using it = await world({ store: { maxEvents: 2 } })
  const cursors = await publishMany(it.hub, 's', 5)
  await it.hub.seal('s')
  const reader = await (await it.read('/s', { cursor: cursors[1] })).end()
  expect(reader.names).toEqual(['stream:ready', 'stream:gap', 'message', 'message', 'stream:end'])
  expect(reader.json('stream:gap')).toEqual({ reason: 'expired', missed: 2 })
})

test('an open reader gets what was published last, then the end; its reason is sealed', async () => {
  const reasons: string[] = []
  await using it = await world({ stream: { onClose: (_, reason) => reasons.push(reason) } })
  const reader = await it.read('/s')
  const published = publishMany(it.hub, 's', 3)
  await published
  await it.hub.seal('s')
  await reader.end()
  expect(reader.names).toEqual(['stream:ready', 'message', 'message', 'message', 'stream:end'])
  await it.served.idle()
  expect(reasons).toEqual(['sealed'])
  expect(it.hub.stats().closed.sealed).toBe(1)
})

test('a reader that has no room when the stream is sealed gets the rest first', async () => {
  await using it = await world()
  const slow = await openOn(it.hub, 's')
  slow.room = false
  await publishMany(it.hub, 's', 100)
  await until(() => slow.events.length > 0)
  await publishMany(it.hub, 's', 100, 101)
  await it.hub.seal('s')
  expect(slow.state).toBe('open')
  while (slow.state === 'open') {
    slow.drain()
    slow.room = false
    await until(() => slow.events.length === 200)
  }
  expect(slow.events).toEqual(numbers(1, 200))
  expect(slow.names.at(-1)).toBe('stream:end')
})

test('a sealed stream that was never published into ends at once, and its cursor is complete', async () => {
  await using it = await world()
  await it.hub.seal('s')
  const reader = await (await it.read('/s')).end()
  expect(reader.names).toEqual(['stream:ready', 'stream:end'])
  const again = await it.read('/s', { cursor: reader.frames[0]?.id })
  expect(again.status).toBe(204)
})

test('a sealed stream takes no more events, and sealing it again changes nothing', async () => {
  await using it = await world()
  await publishMany(it.hub, 's', 1)
  await it.hub.seal('s')
  await it.hub.seal('s')
  await expect(it.hub.publish('s', { data: 'late' })).rejects.toMatchObject({ code: 'SEALED' })
  await expect(it.hub.publish('s', [{ data: 'late' }])).rejects.toMatchObject({ code: 'SEALED' })
  expect((await it.hub.read('s')).items).toHaveLength(1)
})

test('the record of a sealed stream outlives its events, for sealedTtlMs and no longer', async () => {
  await using it = await world({ hub: { sealedTtlMs: TTL_MS }, store: { maxAgeMs: 1_000 } })
  const cursors = await publishMany(it.hub, 's', 3)
  await it.hub.seal('s')
  await it.clock.advance(TTL_MS - 1_000)
  expect((await it.read('/s', { cursor: cursors[3] })).status).toBe(204)
  await expect(it.hub.publish('s', { data: 'late' })).rejects.toMatchObject({ code: 'SEALED' })

  await it.clock.advance(TTL_MS)
  const reader = await it.read('/s', { cursor: cursors[3] })
  await it.hub.publish('s', { data: 'anew' })
  await reader.until(({ events }) => events.length === 1)
  expect(reader.json('stream:gap')).toEqual({ reason: 'epoch', missed: null })
  expect(reader.events).toEqual(['anew'])
})

test('publishing and sealing in one breath loses nothing', async () => {
  await using it = await world()
  const reader = await it.read('/s')
  const last = it.hub.publish('s', { data: 'last' })
  await it.hub.seal('s')
  await last
  await reader.end()
  expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])
})
