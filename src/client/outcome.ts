import type { SseError } from '../protocol/error.js'

/** How an attempt ends, and so what the loop does next. */
export type Outcome =
  /** The stream is complete. */
  | { readonly is: 'ended'; readonly reason: string }
  /** The cursor was lost on the way: ask again, at once, with the cursor in the query. */
  | { readonly is: 'stripped' }
  /** The credentials are stale: ask again, at once, with new headers. */
  | { readonly is: 'refresh' }
  /** Somebody on this side wants another response: ask again, at once. */
  | { readonly is: 'reopen' }
  /** The server refused; `terminal` is the default, which the user may overrule. */
  | {
      readonly is: 'refused'
      readonly error: SseError
      readonly reason: string
      readonly terminal: boolean
      readonly retryAfterMs: number
    }
  /** To ask again would end the same way. */
  | { readonly is: 'failed'; readonly error: SseError; readonly reason: string }
  /** A poll was answered in full. */
  | { readonly is: 'polled' }
  /** Ask at once, in another way; or another attempt has, and was answered. */
  | { readonly is: 'again' }
  /** Come back later; after `maxAge`, soon. */
  | {
      readonly is: 'lost'
      readonly reason: string
      readonly maxAge?: boolean
      /** No head came in time. */
      readonly silent?: boolean
      /** The server said so itself. */
      readonly said?: boolean
    }

/**
 * Names a fault without its message, which may quote the address or a header.
 *
 * @param what - the step that failed.
 */
export function lostBy(what: string, fault: unknown): Outcome {
  const { code, cause }: Told = Object(fault)
  const { code: causeCode }: Told = Object(cause)
  const word = [code, causeCode, fault instanceof Error && fault.name].find(isWord)
  return { is: 'lost', reason: word === undefined ? what : `${what} (${word})` }
}

interface Told {
  readonly code?: unknown
  readonly cause?: unknown
}

function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z]\w{0,39}$/.test(value)
}
