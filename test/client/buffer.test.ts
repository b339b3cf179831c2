import { beforeEach, expect, test } from 'vitest'
import { ItemBuffer } from '../../src/client/buffer.js'
import { SseError } from '../../src/protocol/error.js'
import { eventItem } from '../../src/protocol/event.js'

const item = (id: string, data = 'x') => eventItem(id, undefined, data)
const gap = (id: string) => ({ type: 'gap', id, reason: 'invalid', missed: null }) as const

let buffer = new ItemBuffer(1_000, null)
beforeEach(() => {
  buffer = new ItemBuffer(1_000, 'start')
})

test('items come out in order, to those who wait and to those who ask later', async () => {
  const first = buffer.next()
  const second = buffer.next()
  for (const id of ['1', '2', '3']) buffer.push(item(id))
  expect([(await first).value?.id, (await second).value?.id, (await buffer.next()).value?.id]).toEqual(['1', '2', '3'])
})

test('an item is handled when the next one is asked for', async () => {
  buffer.push(item('1'))
  buffer.push(item('2'))
  expect(buffer.cursor).toBe('start')
  await buffer.next()
  expect(buffer.cursor).toBe('start')
  await buffer.next()
  expect(buffer.cursor).toBe('1')
  void buffer.next()
  expect(buffer.cursor).toBe('2')
})

test('a mark counts at once when nothing is before it', () => {
  buffer.mark('a')
  expect(buffer.cursor).toBe('a')
  void buffer.next()
  buffer.mark('b')
  expect(buffer.cursor).toBe('b')
})

test('a mark waits for the items before it, handed out or not', async () => {
  buffer.push(item('1'))
  buffer.mark('a')
  buffer.push(item('2'))
  await buffer.next()
  buffer.mark('b')
  expect(buffer.cursor).toBe('start')
  await buffer.next()
  expect(buffer.cursor).toBe('a')
  buffer.mark('c')
  expect(buffer.cursor).toBe('a')
  void buffer.next()
  expect(buffer.cursor).toBe('c')
})

test('a mark behind the one item in hand waits for it', async () => {
  buffer.push(item('1'))
  await buffer.next()
  buffer.mark('a')
  expect(buffer.cursor).toBe('start')
  void buffer.next()
  expect(buffer.cursor).toBe('a')
})

test('a mark that an item has passed is forgotten', async () => {
  const both = [buffer.next(), buffer.next()]
  buffer.push(item('1'))
  buffer.mark('a')
  buffer.push(item('2'))
  await Promise.all(both)
  void buffer.next()
  expect(buffer.cursor).toBe('2')
})

test('a flood of marks is one entry', async () => {
  buffer.push(item('1'))
  for (let i = 0; i < 100_000; i++) buffer.mark(String(i))
  await buffer.next()
  void buffer.next()
  expect(buffer.cursor).toBe('99999')
})

test('a gap without a place leaves the cursor standing, an event without one takes it back', async () => {
  buffer.push(gap(''))
  buffer.push(item(''))
  await buffer.next()
  await buffer.next()
  expect(buffer.cursor).toBe('start')
  void buffer.next()
  expect(buffer.cursor).toBeNull()
})

test('it is full at its bound, and has room again below half', async () => {
  const small = new ItemBuffer(1_000, null)
  while (!small.full) small.push(item('1', 'x'.repeat(99)))
  let hasRoom = false
  void small.room().then(() => {
    hasRoom = true
  })
  await small.next() // 6 items of 165 (64 + 1 + 7 + 99 = 171) are left
  await small.next()
  await Promise.resolve()
  expect(hasRoom).toBe(false)
  await small.next()
  await small.next()
  await Promise.resolve()
  expect(hasRoom).toBe(true)
})

test('the first kept item pays for the text it was cut from', () => {
  buffer.owe(65_536)
  buffer.push(item('1'))
  expect(buffer.full).toBe(true)
})

test('an end comes behind what is buffered, and an error is thrown once', async () => {
  buffer.push(item('1'))
  buffer.finish(new SseError('FRAME_TOO_LARGE', 'too large'))
  expect((await buffer.next()).value?.id).toBe('1')
  await expect(buffer.next()).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' })
  expect(await buffer.next()).toEqual({ done: true, value: undefined })
})

test('of those who wait, the first gets the error and the others the end', async () => {
  const waiting = [buffer.next(), buffer.next()]
  buffer.finish(new SseError('FRAME_TOO_LARGE', 'too large'))
  const [first, second] = await Promise.allSettled(waiting)
  expect(first).toMatchObject({ status: 'rejected', reason: { code: 'FRAME_TOO_LARGE' } })
  expect(second).toMatchObject({ status: 'fulfilled', value: { done: true } })
})

test('what is dropped is not handed out, nor what comes later', async () => {
  buffer.push(item('1'))
  buffer.finish(new SseError('FRAME_TOO_LARGE', 'too large'))
  buffer.drop()
  buffer.push(item('2'))
  buffer.mark('3')
  expect(await buffer.next()).toEqual({ done: true, value: undefined })
  expect(buffer.cursor).toBe('start')
})

test('calls that nobody awaits are bounded', async () => {
  for (let i = 0; i < 1_000; i++) void buffer.next()
  await expect(buffer.next()).rejects.toMatchObject({ code: 'OVERLOADED' })
})

test('a hundred thousand items go through, in order', async () => {
  const large = new ItemBuffer(Number.POSITIVE_INFINITY, null)
  const taken: (string | undefined)[] = []
  const take = async () => taken.push((await large.next()).value?.id)
  for (let i = 0; i < 100_000; i++) {
    large.push(item(String(i)))
    if (i % 3 === 0) await take()
  }
  while (taken.length < 100_000) await take()
  expect(taken.findIndex((id, i) => id !== String(i))).toBe(-1)
})

test('all who wait for room are told of it', async () => {
  buffer.push(item('1', 'x'.repeat(2_000)))
  const told = Promise.all([buffer.room(), buffer.room()])
  await buffer.next()
  expect(await told).toHaveLength(2)
})
