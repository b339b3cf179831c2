export { SseError, type SseErrorCode } from '../protocol/error.js'
export type { EventItem, GapItem, GapReason, StreamItem } from '../protocol/event.js'
export { connect, type EventStream } from './connect.js'
export type { ConnectOptions, ConnectState, StateChange, StateListener } from './options.js'
