import { expect, test } from 'vitest'
import { encodeComment, encodeEvent } from '../../src/protocol/encode.js'

test('the fields stand in the order retry, event, data, id', () => {
  expect(encodeEvent({ id: '7', data: 'hello', event: 'greeting', retry: 1500 })).toBe(
    'retry: 1500\nevent: greeting\ndata: hello\nid: 7\n\n',
  )
})

test('the id is the last field of a frame with several lines of data', () => {
  expect(encodeEvent({ id: '7', data: 'a\nb' })).toBe('data: a\ndata: b\nid: 7\n\n')
})

test('an event without a name, an id or a retry is its data', () => {
  expect(encodeEvent({ data: 'hello' })).toBe('data: hello\n\n')
  expect(encodeEvent({ event: '', data: '' })).toBe('data: \n\n')
})

test('an empty id is written, for it resets what a client holds', () => {
  expect(encodeEvent({ data: 'x', id: '' })).toBe('data: x\nid: \n\n')
})

test('a space at the beginning of data survives the one that is taken away', () => {
  expect(encodeEvent({ data: ' x' })).toBe('data:  x\n\n')
})

test.each([
  ['CRLF', 'a\r\nb', 'data: a\ndata: b\n\n'],
  ['CR', 'a\rb', 'data: a\ndata: b\n\n'],
  ['LF', 'a\nb', 'data: a\ndata: b\n\n'],
  ['LF CR, two breaks', 'a\n\rb', 'data: a\ndata: \ndata: b\n\n'],
  ['CR CRLF, two breaks', 'a\r\r\nb', 'data: a\ndata: \ndata: b\n\n'],
  ['a break at the end', 'a\n', 'data: a\ndata: \n\n'],
  ['a break alone', '\n', 'data: \ndata: \n\n'],
])('data is split on %s', (_, data, frame) => {
  expect(encodeEvent({ data })).toBe(frame)
})

test.each([
  ['event', '\r'],
  ['event', '\n'],
  ['event', '\0'],
  ['id', '\r'],
  ['id', '\n'],
  ['id', '\0'],
])('`%s` with %j is a TypeError that names the field', (field, character) => {
  const event = { data: 'x', [field]: `a${character}b` }
  expect(() => encodeEvent(event)).toThrow(TypeError)
  expect(() => encodeEvent(event)).toThrow(`\`${field}\``)
})

test('NUL may stand in data', () => {
  expect(encodeEvent({ data: 'a\0b' })).toBe('data: a\0b\n\n')
})

test.each(['event', 'data', 'id'])('half a character in `%s` is a TypeError that names the field', (field) => {
  const event = { data: 'x', [field]: 'cut \ud83d' }
  expect(() => encodeEvent(event)).toThrow(TypeError)
  expect(() => encodeEvent(event)).toThrow(`\`${field}\``)
})

test('whole characters beyond the basic plane are taken', () => {
  expect(encodeEvent({ data: '😀', event: '😀', id: '😀' })).toBe('event: 😀\ndata: 😀\nid: 😀\n\n')
})

test.each(['event', 'data', 'id'])('a number as `%s` is a TypeError that names the field', (field) => {
  const event = { data: 'x', [field]: 5 as unknown as string }
  expect(() => encodeEvent(event)).toThrow(TypeError)
  expect(() => encodeEvent(event)).toThrow(`\`${field}\``)
})

test.each([1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('a retry of %s is a TypeError', (retry) => {
  expect(() => encodeEvent({ data: 'x', retry })).toThrow(/`retry`/)
})

test('a retry of 0 is written', () => {
  expect(encodeEvent({ data: 'x', retry: 0 })).toBe('retry: 0\ndata: x\n\n')
})

test.each([
  [undefined, ':\n\n'],
  ['', ':\n\n'],
  ['still here', ': still here\n\n'],
  ['a\r\nb\rc\nd', ': a\n: b\n: c\n: d\n\n'],
  ['\n', ': \n: \n\n'],
])('the comment %j is %j', (text, frame) => {
  expect(encodeComment(text)).toBe(frame)
})

test('half a character in a comment is a TypeError', () => {
  expect(() => encodeComment('\udc00')).toThrow(/`comment`/)
})
