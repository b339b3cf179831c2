import { expect, test } from 'vitest'
import { bound, duration, named, oneOf, show } from '../../src/protocol/options.js'

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '5' as unknown as number])(
  'a duration of %s is a TypeError that names the option and what it got',
  (value) => {
    expect(() => duration('heartbeatMs', value, 1)).toThrow(TypeError)
    expect(() => duration('heartbeatMs', value, 1)).toThrow(/`heartbeatMs`.*got/)
  },
)

test('a duration may be a fraction, and is the default when left out', () => {
  expect(duration('a', 0.5, 1)).toBe(0.5)
  expect(duration('a', undefined, 7)).toBe(7)
})

test.each([0, 1.5, -3, Number.NaN, '5' as unknown as number])('a bound of %s is a TypeError', (value) => {
  expect(() => bound('maxEvents', value, 1)).toThrow(/`maxEvents`.*at least 1/)
})

test('a bound may be Infinity, and 0 where that makes sense', () => {
  expect(bound('a', Number.POSITIVE_INFINITY, 1)).toBe(Number.POSITIVE_INFINITY)
  expect(bound('a', 0, 1, 0)).toBe(0)
  expect(bound('a', undefined, 7)).toBe(7)
})

test('one of a few words is that word or a TypeError that lists them', () => {
  expect(oneOf('as', 'event', ['comment', 'event'], 'comment')).toBe('event')
  expect(oneOf('as', undefined, ['comment', 'event'], 'comment')).toBe('comment')
  expect(() => oneOf('as', 'Event' as 'event', ['comment', 'event'], 'comment')).toThrow(`'comment' or 'event'`)
})

test.each(['', 'x'.repeat(1025), 5, null, undefined, 'half \ud800'])('%j names nothing', (value) => {
  expect(() => named('stream', value)).toThrow(/`stream`.*1 to 1024 characters and no half ones/)
})

test('what is shown in an error is short, whatever it is', () => {
  expect(show('x'.repeat(1_000)).length).toBeLessThan(100)
  expect(show({ secret: 'x' })).toBe('an object')
  expect(show(null)).toBe('null')
  expect(show(() => 5)).toBe('a function')
})
