import type { Clock } from './clock.js'
import type { Place } from './cursor.js'

/** An event on its way into a store. */
export interface AppendEvent {
  readonly event: string | undefined
  /** Any text that UTF-8 can hold, NUL (U+0000) too: it is given back as it was. */
  readonly data: string
  readonly key: string | undefined
}

/** Where an event was put; with `duplicate`, where the first event with its key stands. */
export interface Appended extends Place {
  readonly duplicate: boolean
  /** The tag of the event before it: what proves that this one continues what a reader holds. */
  readonly previousTag: number
}

/** An event as a store gives it back. */
export interface StoredEvent {
  readonly offset: number
  readonly tag: number
  readonly event: string | undefined
  readonly data: string
}

/** What a store says of a stream, all of it true at one moment. */
export interface StreamView {
  /** Random, new for every incarnation of the stream. */
  readonly epoch: string
  /** The offset of the oldest retained event; `head + 1` when nothing is retained. */
  readonly first: number
  /** The tag of the event before `first`, kept when that event is gone; 0 before the first ever. */
  readonly firstTag: number
  /** The offset of the newest event; 0 before the first. */
  readonly head: number
  /** The tag of the newest event, kept when that event is gone; 0 before the first. */
  readonly headTag: number
  /** Whether the stream is complete. */
  readonly sealed: boolean
}

/** A view, the tag at the place that was asked for, and the events that follow it. */
export interface Page extends StreamView {
  /** The tag at the offset asked for; `undefined` where the store no longer or not yet has it. */
  readonly tag: number | undefined
  /** In order, without holes. The first is the one after the offset asked for, or `first`, whichever is later. */
  readonly events: readonly StoredEvent[]
}

/** How much to read. */
export interface ReadOptions {
  /** The most events to return. */
  readonly limit: number
  /** Stop once the data read adds up to this; one event is always returned. Unbounded by default. */
  readonly maxBytes?: number | undefined
}

/** Says that a stream moved: look again. It is never the carrier of order. */
export type Hint = (to: { readonly epoch: string; readonly head: number } | undefined) => void

/** What a hub asks of the store that it was given. */
export interface StoreHost {
  readonly clock: Clock
  readonly maxStreams: number
  readonly sealedTtlMs: number
}

/** What may go with an append. */
export interface AppendOptions {
  /** The user's own database transaction, where the store supports one. */
  readonly transaction?: unknown
  readonly signal?: AbortSignal | undefined
}

/**
 * Where streams live. A stream is a log: each event gets the next offset (dense, +1 each, never used
 * twice within an epoch) and a random tag.
 *
 * `append`, `open` and `read` may answer at once or with a promise.
 */
export interface EventStore {
  /**
   * Adds events in order, creating the stream if need be, and answers when they are stored. Those of one call
   * are stored as one: all of them or none, next to one another, and nobody reads a part of them as the head.
   *
   * @throws SseError `SEALED` when the stream is complete, `OVERLOADED` when there is no room for one
   * more stream. Any other error is reported as `STORE_UNAVAILABLE`.
   */
  append(
    stream: string,
    events: readonly AppendEvent[],
    options?: AppendOptions,
  ): readonly Appended[] | Promise<readonly Appended[]>
  /** The present view; creates the record (offset 0, tag 0) of a stream that has none. */
  open(stream: string): StreamView | Promise<StreamView>
  /**
   * The events after `offset` and the view they belong to, in one consistent look; `null` when there
   * is no record of the stream. A negative `limit` is never given; 0 asks for the view alone.
   */
  read(stream: string, offset: number, options: ReadOptions): Page | null | Promise<Page | null>
  /** Calls `hint` when the stream moves, and resolves once that is certain to happen. */
  watch(stream: string, hint: Hint): Promise<() => void>
  /** Completes the stream: it takes no more events, and its record outlives its events. Idempotent. */
  seal(stream: string): StreamView | Promise<StreamView>
  /** Whether several processes may share the streams. Default: no. */
  readonly shared?: boolean | undefined
  /** How long a reader waits without a hint before it looks again, in milliseconds; `undefined` when no hint can be lost. */
  readonly pollMs?: number | undefined
  /** Called once by each hub that is created on this store. Returns what releases it again. */
  attach?(host: StoreHost): () => void
  /** Frees what the store holds. */
  close?(): void | Promise<void>
}
