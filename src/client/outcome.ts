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
  const name = codeOf(fault) ?? codeOf(causeOf(fault)) ?? nameOf(fault)
  return { is: 'lost', reason: name === undefined ? what : `${what} (${name})` }
}

function causeOf(fault: unknown): unknown {
  return typeof fault === 'object' && fault !== null && 'cause' in fault ? fault.cause : undefined
}

function codeOf(fault: unknown): string | undefined {
  return typeof fault === 'object' && fault !== null && 'code' in fault ? word(fault.code) : undefined
}

function nameOf(fault: unknown): string | undefined {
  return fault instanceof Error ? word(fault.name) : undefined
}

function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[A-Za-z][A-Za-z0-9_]{0,39}$/.test(value) ? value : undefined
}
