import type { SseError } from '../protocol/error.js'

/** How an attempt ends, and so what the loop does next. */
export type Outcome =
  /** The stream is complete, or, with an error, to ask again would end the same way. */
  | { readonly is: 'ended'; readonly reason: string; readonly error?: SseError }
  /** The credentials are stale: ask again, at once, with new headers. */
  | { readonly is: 'refresh' }
  /** Somebody on this side wants another response: ask again, at once. */
  | { readonly is: 'reopen' }
  /** The server refused: for now, or by default, which the user may overrule, for good. */
  | {
      readonly is: 'retry' | 'terminal'
      readonly error: SseError
      readonly reason: string
      readonly retryAfterMs?: number | undefined
    }
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
  const { code, cause, name }: Told = Object(fault)
  const { code: causeCode }: Told = Object(cause)
  const word = [code, causeCode, name].find((said) => typeof said === 'string' && /^[A-Za-z]\w{0,39}$/.test(said))
  return { is: 'lost', reason: word ? `${what} (${word})` : what }
}

interface Told {
  readonly code?: unknown
  readonly cause?: unknown
  readonly name?: unknown
}
