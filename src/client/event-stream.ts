import type { StreamItem } from '../protocol/event.js'
import type { ConnectState, StateListener } from './options.js'

/**
 * A stream that is kept up: the items of one server stream across as many responses as it takes. For
 * one consumer.
 */
export interface EventStream extends AsyncIterable<StreamItem, undefined>, AsyncDisposable {
  /**
   * Iterates over the items. Leaving the loop closes the stream.
   *
   * @throws SseError `HTTP_STATUS`, `NOT_AN_EVENT_STREAM` or `FRAME_TOO_LARGE`, once, after all items
   * that were received before it.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamItem, undefined>
  /**
   * The place behind which everything is handled: it moves to an item's `id` when the item after it is
   * asked for. Save it, and pass it as the option `cursor`, to resume after a restart.
   */
  readonly cursor: string | null
  readonly state: ConnectState
  /** What the server calls the open connection; `null` while there is none, or it has no name. */
  readonly connection: string | null
  /**
   * Resolves when the stream is up for the first time. Rejects with the final error, or with
   * `SseError` `CLOSED` when the stream ends before that. Never an unhandled rejection.
   */
  readonly ready: Promise<void>
  /** Calls `listener` on every change of state, until the returned function is called. */
  onState(listener: StateListener): () => void
  /** Ends the stream now: nothing is handed out any more, and nothing is left behind. */
  close(): void
}
