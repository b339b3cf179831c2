import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BlockReader } from '../../src/client/read.js'
import { bytes } from './scripted.js'

/** What a reader says of bytes that come in pieces of the given sizes, in turn. */
function read(input: Uint8Array | string, sizes: number[] = [Number.POSITIVE_INFINITY], maxEventBytes = 1e9) {
  const said: string[] = []
  const reader = new BlockReader(maxEventBytes, {
    block: ({ event, data, id }) => said.push(`${event ?? ''}|${data}|${id ?? ''}`),
    place: (id) => said.push(`place ${id}`),
    retry: (ms) => said.push(`retry ${ms}`),
  })
  const all = typeof input === 'string' ? bytes(input) : input
  try {
    for (let at = 0, turn = 0; at < all.length; turn++) {
      const size = sizes[turn % sizes.length] ?? 1
      reader.feed(all.subarray(at, at + size))
      at += size
    }
  } catch (error) {
    said.push((error as { code: string }).code)
  }
  return said
}

test('an id without data is a place, an id with data belongs to its event', () => {
  expect(read('id: 1\n\nid: 2\ndata: x\n\ndata: y\n\nid: 3\n\ndata: z\n\nid: 4\n')).toEqual([
    'place 1',
    '|x|2',
    '|y|',
    'place 3',
    '|z|',
  ])
})

test('half a frame says nothing', () => {
  expect(read('event: a\ndata: b\nid: c\n')).toEqual([])
})

test('one byte order mark is dropped, others are data', () => {
  expect(read('\uFEFFdata: a\n\n')).toEqual(['|a|'])
  expect(read('\uFEFFdata: a\n\n', [1])).toEqual(['|a|'])
  expect(read('\uFEFF\uFEFFdata: a\n\ndata: b\n\n')).toEqual(['|b|'])
  expect(read('data: \uFEFFa\uFEFF\n\n', [1])).toEqual(['|\uFEFFa\uFEFF|'])
})

// A wait takes effect at its line, a block at its end: the order between the two means nothing.
const isNoRetry = (said: string) => !said.startsWith('retry')
const order = (said: string[]) => [...said.filter(isNoRetry), said.length]

const line = fc.constantFrom('data: ä€😀', 'data', 'event: tick', 'id: 7', ': a comment', 'junk', 'retry: 5', '')
const stream = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 40 })
  .map((lines) => lines.flat().join(''))

test('what is read does not depend on the pieces', () => {
  fc.assert(
    fc.property(stream, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (text, sizes) => {
      expect(order(read(`${text}\n\n`, sizes))).toEqual(order(read(`${text}\n\n`)))
    }),
    { numRuns: 500 },
  )
})

test('the bound on an event does not depend on the pieces, and the events before it are received', () => {
  fc.assert(
    fc.property(
      stream,
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      fc.integer({ min: 8, max: 60 }),
      (text, sizes, max) => {
        const [inPieces, whole] = [read(`${text}\n\n`, sizes, max), read(`${text}\n\n`, undefined, max)]
        expect(inPieces.filter(isNoRetry)).toEqual(whole.filter(isNoRetry))
      },
    ),
    { numRuns: 1_000 },
  )
})

test.each([
  ['data', `data: ${'x'.repeat(100)}\n\n`],
  ['an event name', `event: ${'x'.repeat(100)}\ndata: x\n\n`],
  ['an id', `id: ${'x'.repeat(100)}\ndata: x\n\n`],
  ['a comment', `: ${'x'.repeat(100)}\n\n`],
  ['an unknown field', `unknown: ${'x'.repeat(100)}\n\n`],
  ['an unfinished line', 'x'.repeat(100)],
  ['many lines', `${'data: x\n'.repeat(12)}\n`],
  ['many lines that end in CR', `${'data: x\r'.repeat(12)}\r`],
])('%s counts towards the size of an event', (_, text) => {
  expect(read(`data: ok\n\n${text}`, [Number.POSITIVE_INFINITY], 90)).toEqual(['|ok|', 'FRAME_TOO_LARGE'])
  expect(read(`data: ok\n\n${text}`, [1], 90)).toEqual(['|ok|', 'FRAME_TOO_LARGE'])
})

test('an event of exactly the bound passes, and one byte more does not', () => {
  const frame = 'data: 1234\nid: 1\n\n'
  for (const sizes of [[1], [5], [100]]) {
    expect(read(frame.repeat(3), sizes, frame.length)).toHaveLength(3)
    expect(read(frame.repeat(3), sizes, frame.length - 1)).toEqual(['FRAME_TOO_LARGE'])
  }
})

test('small events, comments and heartbeats never add up to a large one', () => {
  expect(read('data: x\n\n: beat\n\n\n\nid: 1\n\n'.repeat(1_000), [7], 20)).toHaveLength(2_000)
})
