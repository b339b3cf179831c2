import { MAX_DELAY_MS } from './clock.js'

/** The door: checks of what users pass in, with errors that name the option, what it got, and the mend. */

/** A duration in milliseconds: `value`, or `fallback` when it is undefined. */
export function duration(name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback
  if (typeof value !== 'number' || !(value > 0) || value > MAX_DELAY_MS) {
    throw new TypeError(
      `Expected \`${name}\` to be a number of milliseconds above 0 and up to ${MAX_DELAY_MS}, got ${show(value)}`,
    )
  }
  return value
}

/** A bound: a whole number of at least `least`, or `Infinity`; `fallback` when undefined. */
export function bound(name: string, value: number | undefined, fallback: number, least = 1): number {
  if (value === undefined) return fallback
  if (value !== Number.POSITIVE_INFINITY && (!Number.isSafeInteger(value) || value < least)) {
    throw new TypeError(`Expected \`${name}\` to be a whole number of at least ${least}, got ${show(value)}`)
  }
  return value
}

/** One of a few words; `fallback` when undefined. */
export function oneOf<T extends string>(name: string, value: T | undefined, words: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
  if (!words.includes(value)) {
    throw new TypeError(
      `Expected \`${name}\` to be ${words.map((word) => `'${word}'`).join(' or ')}, got ${show(value)}`,
    )
  }
  return value
}

/** A name of a stream, or a key: any string that is not empty, not absurdly long, and stays itself as UTF-8. */
export function named(what: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > 1024 || !value.isWellFormed()) {
    const got = typeof value === 'string' && value.length > 1024 ? `one of ${value.length}` : show(value)
    throw new TypeError(`Expected \`${what}\` to be a string of 1 to 1024 characters and no half ones, got ${got}`)
  }
  return value
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
