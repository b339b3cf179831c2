/**
 * The wire: events, their encoding, cursors, errors, and the ports that stores and sources implement.
 *
 * @packageDocumentation
 */
export { type Clock, systemClock } from './protocol/clock.js'
export type { EndReason, Ready } from './protocol/control.js'
export type { Cursor, Place } from './protocol/cursor.js'
export { encodeComment, encodeEvent } from './protocol/encode.js'
export { SseError, type SseErrorCode } from './protocol/error.js'
export type { EventItem, GapItem, GapReason, PublishEvent, SseEvent, StreamItem } from './protocol/event.js'
export { sseHeaders } from './protocol/headers.js'
export type { Claim, Lease, Receipts } from './protocol/receipts.js'
export type { Source } from './protocol/source.js'
export type {
  AppendEvent,
  Appended,
  AppendOptions,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoredEvent,
  StoreHost,
  StreamView,
} from './protocol/store.js'
