import type { Clock } from '../protocol/clock.js'
import type { Cursor } from '../protocol/cursor.js'
import type { PublishEvent } from '../protocol/event.js'
import type { Source } from '../protocol/source.js'
import type { EventStore } from '../protocol/store.js'
import type { Connection, Reason } from './connection.js'
import type { HistoryPage, HistoryQuery } from './history.js'
import type { Piped, PipeOptions } from './pipe.js'
import type { From } from './reader.js'
import type { Sink } from './sink.js'
import type { Subscription } from './subscription.js'

/** Options of a hub. */
export interface HubOptions {
  /** Where the streams live. */
  store: EventStore
  /** What feeds the streams from outside: joined when a stream gets its first reader, before the 200. */
  source?: Source | undefined
  /** The longest a connection stays idle before a heartbeat, in milliseconds. Default: 15,000. */
  heartbeatMs?: number | undefined
  /** A comment, or the event `stream:heartbeat`, which a native `EventSource` can see. Default: `'comment'`. */
  heartbeatAs?: 'comment' | 'event' | undefined
  /** How long one write may wait for the peer before its connection is destroyed, in milliseconds. Default: 30,000. */
  writeTimeoutMs?: number | undefined
  /** How long a join may take before it is answered 503, in milliseconds. Default: 5,000. */
  joinTimeoutMs?: number | undefined
  /** The most events that a returning client is replayed; what is beyond becomes a gap. Default: 10,000. */
  maxReplay?: number | undefined
  /** The largest frame, in bytes. Default: 1 MiB. */
  maxFrameBytes?: number | undefined
  /** The most streams at a time. Default: 10,000. */
  maxStreams?: number | undefined
  /** The most connections at a time; beyond it the answer is 503, and nobody is evicted. Default: no bound. */
  maxConnections?: number | undefined
  /**
   * How long a connection may last, in milliseconds: it is ended at a random moment of the last fifth, and its
   * client comes back at once. Set it below the limit of your platform. Default: no bound.
   */
  maxAgeMs?: number | undefined
  /** How long the source of a stream stays joined when its last reader has gone, in milliseconds. Default: 600,000. */
  idleMs?: number | undefined
  /** How long the record of a sealed stream is kept, in milliseconds. Default: 86,400,000 (a day). */
  sealedTtlMs?: number | undefined
  /** The range in milliseconds that each connection's `retry` is drawn from, so that clients come back spread out. Default: [1000, 5000]. */
  retryMs?: readonly [number, number] | undefined
  /** How much of a stream's end is held encoded while it has readers, in bytes. Default: 1 MiB. */
  ringBytes?: number | undefined
  /** How long the store may take to confirm a publish, in milliseconds. Default: 10,000. */
  publishTimeoutMs?: number | undefined
  /** The most that publishes under way may hold together, in characters of data. Default: 16 Mi. */
  maxPendingBytes?: number | undefined
  /** Adds a comment of so many bytes to the opening and to each heartbeat, against proxies that hold small writes. 4096 defeats nginx. Default: 0. */
  padBytes?: number | undefined
  /**
   * Told of a connection whose client has acknowledged before, and for `undeliveredMs` has not acknowledged what was
   * written: it is lost on the way, held by a proxy, or more than its consumer can take. Once per episode, which ends
   * when that is acknowledged. See `acknowledge` of the adapters, and the client's `acks`.
   */
  onUndelivered?: ((delivery: Delivery) => void) | undefined
  /**
   * How long what was written may go without being acknowledged, in milliseconds. The hook is told a little later;
   * at most after twice that, where acknowledgements trail already. Default: 30,000.
   */
  undeliveredMs?: number | undefined
  /** Told of errors that have no other way out: those of a source, or of a hook. Default: `console.error`. */
  onError?: ((error: unknown) => void) | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

/** Where a published event went. */
export interface Published {
  /** Where the event stands. */
  readonly cursor: Cursor
  /** Whether an event with the same key was there before; the cursor is then that one's. */
  readonly duplicate: boolean
}

/** Options of one publish. */
export interface PublishOptions {
  /** The user's own database transaction, on stores that support it. */
  transaction?: unknown
  /** Stops the waiting; the event may be stored all the same. */
  signal?: AbortSignal | undefined
}

/** Options of one subscription. */
export interface SubscribeOptions {
  /** Continue after this cursor. */
  cursor?: Cursor | undefined
  /** Where to begin without a cursor. Default: `'now'`. */
  from?: From | undefined
  /** Ends the subscription. */
  signal?: AbortSignal | undefined
}

/** One open response of a hub, as hooks and `disconnect` see it. */
export interface HubConnection<Request = unknown> {
  /** New for every response; the client sees it in `stream:ready`. */
  readonly id: string
  readonly stream: string
  /** The framework's own request. */
  readonly request: Request
  /** Aborted when the connection is over. */
  readonly signal: AbortSignal
  /** Why it is over; `undefined` while it is open. */
  readonly reason: Reason | undefined
  /** Ends it in order. The client will come back. */
  close(): void
}

/** How far one connection is: what is published, what was written and what was acknowledged are three separate facts. */
export interface Delivery<Request = unknown> {
  readonly connection: HubConnection<Request>
  /** The newest event of the stream, as far as this process knows. */
  readonly head: Cursor
  /** The last event that was handed to the socket. It may still be in a buffer of the system, or of a proxy. */
  readonly written: Cursor
  /**
   * The last event that the client said its consumer has finished. `null` while it has said so of nothing in the
   * log that is written.
   */
  readonly acknowledged: Cursor | null
  /**
   * When the client last acknowledged, by the hub's clock. `null`: never. It is a client without `acks`, or one that
   * the head of its response has not reached.
   */
  readonly acknowledgedAt: number | null
  /** How many events are published and not written; `null` when that cannot be known, as after a log was replaced. */
  readonly unwritten: number | null
  /** How many events are written and not acknowledged: all of this connection's when none is. `null` as above. */
  readonly unacknowledged: number | null
}

/** Counts of a hub, for metrics. */
export interface HubStats {
  /** Open now. */
  readonly connections: number
  /** Streams with readers in this process now. */
  readonly streams: number
  /** Connections opened since the beginning. */
  readonly opened: number
  /** Connections closed since the beginning, by reason. */
  readonly closed: Readonly<Record<Reason, number>>
  readonly heartbeats: number
  /** Gaps announced to connections. */
  readonly gaps: number
}

/** The composition root of the server side: it publishes into streams and lets readers follow them. */
export interface Hub extends AsyncDisposable {
  /**
   * Adds an event to a stream, or several at once, and resolves when the store has them.
   *
   * @throws TypeError for what no frame can carry (CR, LF or NUL in `event`, a name under `stream:`).
   * SseError `FRAME_TOO_LARGE`, `SEALED`, `OVERLOADED` (more than `maxPendingBytes` un-awaited, or no room
   * for another stream), `PUBLISH_TIMEOUT`, `STORE_UNAVAILABLE`, `CLOSED`. After `PUBLISH_TIMEOUT` the event is stored or
   * not, and so it is after `STORE_UNAVAILABLE` when the connection to the store was lost on the way: publish again with
   * the same `key`, and it is stored once.
   * @example
   * ```ts
   * const { cursor } = await hub.publish('news', { event: 'headline', data: { title: 'Hello' } })
   * ```
   */
  publish(stream: string, event: PublishEvent, options?: PublishOptions): Promise<Published>
  /** Adds several events at once, in order; an array of results is given back. */
  publish(stream: string, events: readonly PublishEvent[], options?: PublishOptions): Promise<Published[]>
  /**
   * Follows a stream inside this process. Resolves when joined: what is published after that is delivered.
   *
   * @throws SseError `JOIN_TIMEOUT`, `STORE_UNAVAILABLE`, `OVERLOADED`, `CLOSED`.
   * @example
   * ```ts
   * for await (const item of await hub.subscribe('news', { from: 'earliest' })) console.log(item)
   * ```
   */
  subscribe(stream: string, options?: SubscribeOptions): Promise<Subscription>
  /**
   * Reads a page of history, the newest by default: what an application loads after a gap.
   *
   * @throws SseError `STORE_UNAVAILABLE`, `CLOSED`.
   */
  read(stream: string, query?: HistoryQuery): Promise<HistoryPage>
  /** Completes a stream: its readers get the rest, then the end. Idempotent. @throws SseError `STORE_UNAVAILABLE`, `CLOSED`. */
  seal(stream: string): Promise<void>
  /**
   * Publishes what an async iterable yields, one at a time, and seals the stream at its end. When the iterable
   * throws, or `signal` is aborted, a gap record (`source`) is appended before the seal.
   *
   * @throws what the iterable throws, the signal's reason, or what `publish` throws.
   * @example
   * ```ts
   * await hub.pipe(`answer:${id}`, tokens(), { maxLead: 1_000 })
   * ```
   */
  pipe(stream: string, events: AsyncIterable<PublishEvent>, options?: PipeOptions): Promise<Piped>
  /** Ends the connections for which `which` is true, and returns how many. Their clients may come back. */
  disconnect(which: (connection: HubConnection) => boolean): number
  /**
   * How far each connection of a stream is that this process has. Looks through all connections of the process.
   *
   * @example
   * ```ts
   * const stuck = hub.delivery('news').filter(({ unacknowledged }) => unacknowledged !== 0)
   * ```
   */
  delivery(stream: string): Delivery[]
  /** What happened so far, and what is open now. */
  stats(): HubStats
  /**
   * Refuses new work, tells every client `shutdown`, and ends. What did not take its end within `graceMs`
   * is cut. The store stays open: it is yours.
   *
   * @param options.graceMs - in milliseconds. Default: 2,000.
   */
  close(options?: { graceMs?: number | undefined }): Promise<void>
}

/**
 * The hub's side towards adapters; not part of the public face. Bundlers give routes copies of the package while
 * the process has one hub, so each copy must know the hubs of the others.
 */
export const JOIN: unique symbol = Symbol.for('steady-sse: join')

export interface JoinRequest<Request> {
  readonly request: Request
  readonly cursor: Cursor | undefined
  readonly from: From
  readonly signal: AbortSignal
  /** For a poll: how long it may wait for something, in milliseconds. */
  readonly pollMs: number | undefined
  /** Whether a returning client that is `behind` events behind is replayed them. */
  readonly replay: ((behind: number) => Promise<boolean>) | undefined
}

export interface JoiningHub {
  /** Joins a stream for a response that is not open yet. */
  [JOIN]<Request>(stream: string, request: JoinRequest<Request>): Promise<Joined<Request>>
}

/** A reader that has joined: the response may be opened. */
export interface Joined<Request> {
  /** Whether there is nothing left to read, now or ever. */
  readonly complete: boolean
  open(sink: Sink, hooks: ConnectionHooks<Request>): Connection
  abandon(): void
}

export interface ConnectionHooks<Request> {
  /** Returns `false` when the connection must end. */
  onOpen?(connection: HubConnection<Request>): boolean
  onClose?(connection: HubConnection<Request>, reason: Reason): void
}

/** As {@link JOIN}: where adapters find what takes acknowledgements. */
export const ACKNOWLEDGE: unique symbol = Symbol.for('steady-sse: acknowledge')

export interface Acknowledgements {
  readonly clock: Clock
  readonly onError: ((error: unknown) => void) | undefined
  /** Takes what a client finished, where it goes further than before. Returns whether there is such a connection. */
  take(connection: string, cursor: Cursor | null): boolean
}

export interface AcknowledgingHub {
  readonly [ACKNOWLEDGE]: Acknowledgements
}
