import { expect, test } from 'vitest'
import { encodeEnd, encodeGap, encodeReady, parseEnd, parseGap, parseReady } from '../../src/protocol/control.js'
import { Frames } from '../support/raw-reader.js'

function parsed(text: string) {
  const frames = new Frames()
  frames.push(new TextEncoder().encode(text))
  return frames.frames[0]
}

test('ready says what it says, and with a cursor the cursor comes last', () => {
  const ready = { connection: 'c1', resumed: 'ok', heartbeatMs: 15_000, time: 1_763_740_000_000 } as const
  const text = encodeReady(ready, 2_731, 'k3f9.1a4.7qz2')
  expect(text.endsWith('\nid: k3f9.1a4.7qz2\n\n')).toBe(true)
  const frame = parsed(text)
  expect(frame).toMatchObject({ event: 'stream:ready', retry: 2_731, id: 'k3f9.1a4.7qz2' })
  expect(parseReady(frame?.data ?? '')).toEqual(ready)
})

test('ready without a cursor has no id', () => {
  expect(parsed(encodeReady({ heartbeatMs: 1, time: 1 }, 1_000))?.id).toBeUndefined()
})

test('a gap gives back its reason and its number', () => {
  for (const missed of [0, 5_000, null]) {
    const frame = parsed(encodeGap({ reason: 'limit', missed }, 'e.1.2'))
    expect(frame).toMatchObject({ event: 'stream:gap', id: 'e.1.2' })
    expect(parseGap(frame?.data ?? '')).toEqual({ reason: 'limit', missed })
  }
})

test('an end gives back its reason, and has no id', () => {
  for (const reason of ['sealed', 'shutdown', 'maxAge', 'error'] as const) {
    const frame = parsed(encodeEnd(reason))
    expect(frame).toMatchObject({ event: 'stream:end', id: undefined })
    expect(parseEnd(frame?.data ?? '')).toBe(reason)
  }
})

const nonsense = ['', 'null', '7', '"x"', '[]', '{', '{}', '{"reason":5,"missed":"a","heartbeatMs":"x","time":{}}']

test.each(nonsense)('a gap that says %j is a gap all the same', (data) => {
  expect(parseGap(data)).toEqual({ reason: 'invalid', missed: null })
})

test.each(nonsense)('an end that says %j is no seal', (data) => {
  expect(parseEnd(data)).toBe('error')
})

test.each(nonsense)('ready that says %j promises nothing', (data) => {
  expect(parseReady(data)).toEqual({ connection: undefined, resumed: undefined })
})

test.each([-1, 1.5, 1e300, '5'])('a gap that misses %j misses an unknown number', (missed) => {
  expect(parseGap(JSON.stringify({ reason: 'expired', missed }))).toEqual({ reason: 'expired', missed: null })
})

test.each(['0', '-5', '1e999', '"5"'])('a heartbeat interval of %s is no interval', (heartbeatMs) => {
  expect(parseReady(`{"heartbeatMs":${heartbeatMs}}`)).not.toHaveProperty('heartbeatMs')
})
