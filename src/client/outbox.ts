/**
 * Sends messages to a server so that none disappears: each ends accepted, rejected, or given up with a reason, none
 * overtakes another of its lane, and what is tried again carries the key that makes the server handle it once.
 *
 * @packageDocumentation
 */
import type { Outbox } from './outbox-face.js'
import { type OutboxOptions, readOutboxOptions } from './outbox-options.js'
import { makeOutbox } from './outbox-queue.js'

export type { Clock } from '../protocol/clock.js'
export { SseError, type SseErrorCode } from '../protocol/error.js'
export type { EventStream } from './event-stream.js'
export type { Outbox, OutboxCounters, SendOptions } from './outbox-face.js'
export { indexedDbStorage } from './outbox-indexed-db.js'
export type { MessageState, OutboxItem } from './outbox-message.js'
export type { OutboxChange, OutboxListener, OutboxOptions, OutboxState } from './outbox-options.js'
export type { Receipt, Rejection, SendAnswer } from './outbox-receipt.js'
export { type OutboxStorage, type StorageArea, webStorage } from './outbox-storage.js'

/**
 * Makes an outbox: a bounded queue of messages, each sent by POST until the server answers, with an `Idempotency-Key`
 * that stays the same over all attempts. `receive` of this package is the other end; any server will do that
 * handles a key once.
 *
 * A network that fails, a 408, 425, 429 or 5xx, and a 409 with `Retry-After` are tried again with growing waits. A
 * 401 is tried once more with new headers; a 404 or 410, once more when the stream it is linked to was opened anew.
 * Anything else that is no 2xx rejects its message, and the lane goes on. Redirects are not followed.
 *
 * @param url - may be relative where there is a page, or with a `fetch` of your own.
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const outbox = createOutbox('https://example.com/messages')
 * try {
 *   const receipt = await outbox.send({ text: 'hello' }, { lane: 'room-1' })
 *   console.log(receipt.json())
 * } catch (error) {
 *   if (error instanceof SseError && error.code === 'UNCERTAIN') console.log('It may have arrived.')
 *   else throw error
 * }
 * ```
 */
export function createOutbox(url: string | URL, options: OutboxOptions = {}): Outbox {
  return makeOutbox(readOutboxOptions(url, options))
}
