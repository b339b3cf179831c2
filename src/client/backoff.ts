/**
 * How long a client waits between two attempts: pure formulas. `random` is a number from 0 up to 1,
 * drawn by the caller; every wait is in milliseconds.
 */

/** The wait a server has not yet changed with `retry:`. */
export const FIRST_RETRY_MS = 1_000
/** A stream that was open for this long counts as established, whether or not it said anything. */
export const ESTABLISHED_MS = 5_000

const LEAST_RETRY_MS = 100
const MOST_RETRY_MS = 60_000
const MOST_JITTER_MS = 30_000
const MOST_RETRY_AFTER_MS = 3_600_000
const QUICK_MS = 250

/** A server's `retry:` within bounds: no server turns its clients into a hammer, or away for days. */
export function clampRetry(ms: number): number {
  return Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, ms))
}

export function afterEstablished(retryMs: number, random: number): number {
  return retryMs * (1 + 0.1 * random)
}

/** The server asked the client to come back: at once, yet not all clients in the same instant. */
export function afterMaxAge(random: number): number {
  return QUICK_MS * random
}

/**
 * @param failures - how many attempts failed in a row, this one included.
 * @param floorMs - the server's `retry`, or its `Retry-After` where that is longer.
 */
export function afterFailure(failures: number, floorMs: number, random: number): number {
  return floorMs + random * Math.min(MOST_JITTER_MS, 1_000 * 2 ** failures)
}

/** Reads `Retry-After` (seconds or a date) as milliseconds from `now`; 0 where it says nothing. */
export function parseRetryAfter(value: string | null, now: number): number {
  if (value === null) return 0
  const ms = /^\s*\d+\s*$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now
  return ms > 0 ? Math.min(MOST_RETRY_AFTER_MS, ms) : 0
}
