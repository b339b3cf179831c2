import { show } from '../protocol/options.js'
import type { EventStream } from './event-stream.js'
import type { RequestHeaders } from './request-headers.js'

/** Where a stream keeps its link. Known to all copies of the package: a bundler may make one for each entry. */
export const LINK: unique symbol = Symbol.for('steady-sse: link')

/** What an `EventStream` is to those that send beside it; not part of the public face. */
export interface StreamLink {
  /** The id that `stream:ready` gave the open response; `null` while none is open, or it has no name. */
  readonly connection: string | null
  /** The stream's own request headers, made as for an attempt, without the cursor and `accept`. */
  headers(): Promise<Headers>
  /**
   * Makes the headers anew after a 401: one call of the user's function for all who ask at about the same
   * time, the stream included. The next `headers()` has them. Rejects as the user's function does.
   */
  refresh(): Promise<void>
  /**
   * Ends the open response, or the wait for the next attempt, and tries again at once; held back like a
   * wake, so that it makes no hot loop. Nothing while an attempt is under way, or after the end.
   */
  reopen(): void
  /** Calls `listener` whenever a response is open, until the returned function is called. */
  onOpen(listener: (connection: string | null) => void): () => void
  /** Calls `listener` when the stream has ended for good; at once, if it has. */
  onClosed(listener: () => void): () => void
}

/** The link of a stream that `connect` made. @throws TypeError for anything else. */
export function linkOf(stream: EventStream): StreamLink {
  const link = (stream as Partial<Linked> | null | undefined)?.[LINK]
  if (link === undefined) {
    throw new TypeError(`Expected \`stream\` to be an EventStream, made by connect(), got ${show(stream)}`)
  }
  return link
}

export interface Linked {
  readonly [LINK]: StreamLink
}

export function makeLink(stream: EventStream, headers: RequestHeaders, reopen: () => void): StreamLink {
  return {
    get connection() {
      return stream.connection
    },
    headers: () => headers.make(),
    refresh: () => headers.renew(),
    reopen,
    onOpen: (listener) => stream.onState(({ state }) => state === 'open' && listener(stream.connection)),
    onClosed(listener) {
      if (stream.state === 'closed') {
        listener()
        return () => {}
      }
      return stream.onState(({ state }) => state === 'closed' && listener())
    },
  }
}
