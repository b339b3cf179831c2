/**
 * The server side: a hub that streams are published into and followed from, and `writeSSE` for one's own
 * responses.
 *
 * @packageDocumentation
 */
export { SseError, type SseErrorCode } from '../protocol/error.js'
export type { Reason } from './connection.js'
export { createHub } from './create-hub.js'
export type { DiagnosticMessages } from './diagnostics.js'
export type { HistoryPage, HistoryQuery } from './history.js'
export type {
  Delivery,
  Hub,
  HubConnection,
  HubOptions,
  HubStats,
  Published,
  PublishOptions,
  SubscribeOptions,
} from './hub.js'
export type { Piped, PipeOptions } from './pipe.js'
export type { From } from './reader.js'
export type { Subscription } from './subscription.js'
export { type NodeTarget, type WebTarget, type WriteOptions, type WriteTarget, writeSSE } from './write.js'
