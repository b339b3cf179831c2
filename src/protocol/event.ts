/** One event as the wire carries it: the HTML standard's unit and its fields. */
export interface SseEvent {
  /** The event's name; without one, clients see `message`. No CR, LF or NUL. */
  event?: string | undefined
  /** The payload. Line breaks (CRLF, CR, LF) arrive as LF. */
  data: string
  /** The place a client resumes from (`Last-Event-ID`). No CR, LF or NUL. */
  id?: string | undefined
  /** How long a client waits before it reconnects, in whole milliseconds. */
  retry?: number | undefined
}

/** An event on its way into a stream. */
export interface PublishEvent {
  /** The event's name. No CR, LF or NUL, and not under the reserved prefix `stream:`. */
  event?: string | undefined
  /** A string is sent as it is; anything else is sent as JSON. */
  data: unknown
  /** An idempotency key: a second publish with it adds nothing while the first event is retained. */
  key?: string | undefined
}

/** An event handed to a reader. */
export interface EventItem {
  readonly type: 'event'
  /** The cursor of this event; `''` where the server numbers nothing. */
  readonly id: string
  readonly event: string
  readonly data: string
  /** Parses `data`. Throws `SyntaxError` when it is not JSON. */
  json<T = unknown>(): T
}

/** Why events are missing. See the table of resumption in `docs/protocol.md`. */
export type GapReason = 'invalid' | 'epoch' | 'ahead' | 'expired' | 'diverged' | 'limit' | 'source'

/** An announced loss: it stands before the first event that follows the hole. */
export interface GapItem {
  readonly type: 'gap'
  /** The cursor after the hole. */
  readonly id: string
  readonly reason: GapReason
  /** How many events are missing; `null` where that cannot be known. */
  readonly missed: number | null
}

/** What a reader of a stream is handed: an event, or the announcement that some are missing. */
export type StreamItem = EventItem | GapItem

class ReceivedEvent implements EventItem {
  readonly type = 'event'
  readonly id: string
  readonly event: string
  readonly data: string
  constructor(id: string, event: string, data: string) {
    this.id = id
    this.event = event
    this.data = data
  }
  json<T>(): T {
    return JSON.parse(this.data) as T
  }
}

export function eventItem(id: string, event: string | undefined, data: string): EventItem {
  return new ReceivedEvent(id, event || 'message', data)
}
