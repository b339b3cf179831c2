import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatCursor, formatIdLine, parseCursor, randomEpoch, randomTag } from '../../src/protocol/cursor.js'

const place = fc.record(
  {
    epoch: fc.constant(0).map(randomEpoch),
    offset: fc.oneof(fc.nat(), fc.maxSafeNat()),
    tag: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  },
  { noNullPrototype: true },
)

test('a cursor gives back the place it was made of, in at most 64 printable characters', () => {
  fc.assert(
    fc.property(place, (one) => {
      const cursor = formatCursor(one)
      expect(cursor).toMatch(/^[!-~]{1,64}$/)
      expect(parseCursor(cursor)).toEqual(one)
    }),
  )
})

test('whichever place came before, a cursor is the same text, alone and at the end of a frame', () => {
  const near = fc.record({
    epoch: fc.constantFrom('a', 'b', 'k3f9k3f9k3f9'),
    offset: fc.oneof(fc.nat(40), fc.integer({ min: 1_290, max: 1_300 })),
    tag: fc.oneof(fc.nat(3), fc.integer({ min: 1_294, max: 1_298 })),
  })
  fc.assert(
    fc.property(fc.array(near), (places) => {
      for (const one of places) {
        const cursor = `${one.epoch}.${one.offset.toString(36)}.${one.tag.toString(36)}`
        expect(formatIdLine(one)).toBe(`\nid: ${cursor}\n\n`)
        expect(formatCursor(one)).toBe(cursor)
      }
    }),
  )
})

test('numbers stand in a cursor in base 36', () => {
  const border = [0, 1, 9, 10, 35, 36, 37, 1_295, 1_296, 1_297, 46_655, 46_656, 2 ** 31, 2 ** 32 - 1, 2 ** 53 - 1]
  for (const number of border) {
    expect(formatCursor({ epoch: 'e', offset: number, tag: number })).toBe(
      `e.${number.toString(36)}.${number.toString(36)}`,
    )
  }
  fc.assert(
    fc.property(fc.maxSafeNat(), (number) => {
      expect(formatCursor({ epoch: 'e', offset: number, tag: 0 })).toBe(`e.${number.toString(36)}.0`)
    }),
  )
})

test('the longest place there is takes at most 64 characters', () => {
  const cursor = formatCursor({ epoch: 'z'.repeat(16), offset: Number.MAX_SAFE_INTEGER, tag: 2 ** 32 - 1 })
  expect(cursor.length).toBeLessThanOrEqual(64)
  expect(parseCursor(cursor)).not.toBeNull()
})

test('what is read and written again is the same text', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9a-z]{1,4}\.[0-9a-z]{1,4}\.[0-9a-z]{1,4}$/), (text) => {
      const read = parseCursor(text)
      if (read) expect(formatCursor(read)).toBe(text)
    }),
    { numRuns: 500 },
  )
})

test.each([
  ['nothing', ''],
  ['no dots', 'abc'],
  ['two parts', 'k3f9.1a4'],
  ['four parts', 'k3f9.1a4.7qz2.0'],
  ['an empty part', 'k3f9..7qz2'],
  ['a leading zero in the offset', 'k3f9.01.7qz2'],
  ['a leading zero in the tag', 'k3f9.1.07qz2'],
  ['upper case', 'K3F9.1a4.7qz2'],
  ['a sign', 'k3f9.-1.7qz2'],
  ['space around it', ' k3f9.1a4.7qz2 '],
  ['a line break after it', 'k3f9.1a4.7qz2\n'],
  ['an offset beyond what is safe', 'k3f9.zzzzzzzzzzz.7qz2'],
  ['a tag beyond 32 bits', 'k3f9.1a4.zzzzzzz'],
  ['other letters', 'k3f9.1a4.7qß2'],
  ['a number of someone else', '1763740000000'],
])('%s is no cursor', (_, text) => {
  expect(parseCursor(text)).toBeNull()
})

test('more than 1 KiB is refused', () => {
  expect(parseCursor(`${'a'.repeat(2048)}.1.1`)).toBeNull()
})

test('tags are never 0, which stands for the place before the first event', () => {
  for (let i = 0; i < 1_000; i++) expect(randomTag()).toBeGreaterThan(0)
})

test('a thousand epochs are a thousand', () => {
  expect(new Set(Array.from({ length: 1_000 }, randomEpoch)).size).toBe(1_000)
})
