import { show } from '../protocol/options.js'
import type { EventStream } from './event-stream.js'
import type { RequestHeaders } from './request-headers.js'

/** Where a stream keeps its link. Known to all copies of the package: a bundler may make one for each entry. */
export const LINK: unique symbol = Symbol.for('steady-sse: link')

/** What a stream shares with those that send beside it; not part of the public face. */
export interface StreamLink {
  /** The stream's own request headers, without the cursor and `accept`: made anew once for all who are refused, the stream included. */
  readonly headers: RequestHeaders
  /**
   * Ends the open response, or the wait for the next attempt, and tries again at once; held back like a
   * wake, so that it makes no hot loop. Nothing while an attempt is under way, or after the end.
   */
  reopen(): void
}

export interface Linked {
  readonly [LINK]: StreamLink
}

/** The link of a stream that `connect` made. @throws TypeError for anything else. */
export function linkOf(stream: EventStream): StreamLink {
  const shared = (stream as Partial<Linked> | null | undefined)?.[LINK]
  if (shared === undefined) {
    throw new TypeError(`Expected \`stream\` to be an EventStream, made by connect(), got ${show(stream)}`)
  }
  return shared
}
