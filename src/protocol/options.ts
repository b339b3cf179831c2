import { MAX_DELAY_MS } from './clock.js'

/** The door: checks of what users pass in, with errors that name the option, what it got, and the mend. */

/** @throws TypeError that names the option, what it is expected to be, and what it got. */
export function expect(isRight: boolean, name: string, kind: string, got: unknown): asserts isRight {
  if (!isRight) throw new TypeError(`Expected \`${name}\` ${kind}, got ${show(got)}`)
}

/** A duration in milliseconds: `value`, or `fallback` when it is undefined. */
export function duration<T>(name: string, value: number | undefined, fallback: T): number | T {
  if (value === undefined) return fallback
  const isRight = typeof value === 'number' && value > 0 && value <= MAX_DELAY_MS
  expect(isRight, name, `to be a number of milliseconds above 0 and up to ${MAX_DELAY_MS}`, value)
  return value
}

/** A bound: a whole number of at least `least`, or `Infinity`; `fallback` when undefined. */
export function bound(name: string, value: number | undefined, fallback: number, least = 1): number {
  if (value === undefined) return fallback
  const isRight = value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= least)
  expect(isRight, name, `to be a whole number of at least ${least}`, value)
  return value
}

/** One of a few words; `fallback` when undefined. */
export function oneOf<T extends string, F>(
  name: string,
  value: T | undefined,
  words: readonly T[],
  fallback: F,
): T | F {
  if (value === undefined) return fallback
  expect(words.includes(value), name, `to be ${words.map((word) => `'${word}'`).join(' or ')}`, value)
  return value
}

/** A name of a stream, or a key: any string that is not empty, not absurdly long, and stays itself as UTF-8. */
export function named(what: string, value: unknown): string {
  const isRight = typeof value === 'string' && value !== '' && value.length <= 1024 && value.isWellFormed()
  expect(isRight, what, 'to be a string of 1 to 1024 characters and no half ones', value)
  return value as string
}

export function show(value: unknown): string {
  if (typeof value === 'string') {
    return value.length > 80 ? `${JSON.stringify(value.slice(0, 80))}… (${value.length})` : JSON.stringify(value)
  }
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
