import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeComment, encodeEvent } from '../../src/protocol/encode.js'
import type { SseEvent } from '../../src/protocol/event.js'
import { foreignParsers } from '../support/foreign-parsers.js'
import { Frames } from '../support/raw-reader.js'

const encoder = new TextEncoder()
const anything = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
  fc
    .array(fc.constantFrom('a', ' ', ':', '\r', '\n', '\r\n', '\ufeff', 'data: ', 'id', '😀', ''))
    .map((t) => t.join('')),
)
const oneLine = anything.map((text) => text.replaceAll(/[\r\n\0]/g, ''))
const event = fc.record(
  { data: anything, event: oneLine, id: oneLine, retry: fc.nat() },
  { requiredKeys: ['data'], noNullPrototype: true },
)

/** Cuts `bytes` at the given places. */
function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  return places.slice(1).map((place, index) => bytes.subarray(places[index], place))
}

/** Feeds `bytes` cut at the given places. */
function parse(bytes: Uint8Array, cuts: readonly number[]): Frames {
  const frames = new Frames()
  for (const piece of pieces(bytes, cuts)) frames.push(piece)
  return frames
}

const normal = (text: string) => text.replaceAll(/\r\n|\r/g, '\n')

test('a foreign parser gives back what was encoded, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 20 }),
      (events, cuts) => {
        const bytes = encoder.encode(events.map((one) => encodeEvent(one)).join(''))
        expect(parse(bytes, cuts).frames).toEqual(
          events.map(({ event, data, id, retry }) => ({ event: event || undefined, data: normal(data), id, retry })),
        )
      },
    ),
    { numRuns: 500 },
  )
})

test('a frame cut at every byte is no event before its last', () => {
  fc.assert(
    fc.property(event, (one) => {
      const bytes = encoder.encode(encodeEvent(one))
      expect(parse(bytes.subarray(0, -1), []).frames).toEqual([])
      expect(parse(bytes, [...bytes.keys()]).frames).toHaveLength(1)
    }),
    { numRuns: 200 },
  )
})

test('a comment is never an event, whatever it says', () => {
  fc.assert(
    fc.property(anything, (text) => {
      const frames = parse(encoder.encode(encodeComment(text)), [])
      expect(frames.frames).toEqual([])
      expect(frames.comments.join('\n')).toBe(normal(text))
    }),
  )
})

describe.each(foreignParsers)('to %s', (_, heard) => {
  test('every event that the encoder accepts comes back as it was, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (events, cuts) => {
          const bytes = encoder.encode(events.map((one) => encodeEvent(one)).join(''))
          let lastEventId = ''
          const expected = events.map(({ event, data, id }) => {
            lastEventId = id ?? lastEventId
            return { type: event || 'message', data: normal(data), lastEventId }
          })
          expect(heard(pieces(bytes, cuts))).toEqual({
            events: expected,
            retry: events.findLast(({ retry }) => retry !== undefined)?.retry,
          })
        },
      ),
      { numRuns: 300 },
    )
  })

  // But for a NUL in a name: the standard lets it through, and so would many a log and terminal.
  const broken = fc
    .constantFrom('\n', '\r', '\r\n', '\ud800', '\udc00')
    .chain((bad) => fc.tuple(oneLine, oneLine).map(([before, after]) => before + bad + after))
  const rejected = fc.oneof(
    fc.record({ data: anything, event: broken }),
    fc.record({ data: anything, id: fc.oneof(broken, fc.constant('a\0b')) }),
    fc.record({ data: fc.constantFrom('\ud800', 'a\udc00b') }),
    fc.record({ data: anything, retry: fc.constantFrom(-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY) }),
  )

  test('what the encoder rejects could not have survived', () => {
    fc.assert(
      fc.property(rejected, (one: SseEvent) => {
        expect(() => encodeEvent(one)).toThrow(TypeError)
        const { event: name, data, id, retry } = one
        const lines = normal(data).split('\n')
        const fields = [
          ...(retry === undefined ? [] : [`retry: ${retry}`]),
          ...(name === undefined ? [] : [`event: ${name}`]),
          ...lines.map((line) => `data: ${line}`),
          ...(id === undefined ? [] : [`id: ${id}`]),
        ]
        const { events, retry: told } = heard([encoder.encode(`${fields.join('\n')}\n\n`)])
        const asItWas = { events: [{ type: name ?? 'message', data: normal(data), lastEventId: id ?? '' }], retry }
        expect({ events, retry: told }).not.toEqual(asItWas)
      }),
      { numRuns: 300 },
    )
  })
})
