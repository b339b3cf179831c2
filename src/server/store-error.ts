import { SseError } from '../protocol/error.js'

/** What a store threw, as users shall see it. */
export function storeError(error: unknown): unknown {
  if (error instanceof SseError || error instanceof TypeError) return error
  return new SseError('STORE_UNAVAILABLE', 'The store failed; see `cause`.', { cause: error })
}
