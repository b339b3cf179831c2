import { type Clock, systemClock, turn } from '../protocol/clock.js'
import { type EndReason, encodeReady } from '../protocol/control.js'
import { encodeComment, encodeEvent } from '../protocol/encode.js'
import { SseError } from '../protocol/error.js'
import type { SseEvent } from '../protocol/event.js'
import { bound, duration, oneOf } from '../protocol/options.js'
import { Connection, type Feed, type Reason, Schedule } from './connection.js'
import { drawRetry, retryRange } from './hub-options.js'
import { reportTo } from './report.js'
import { returnQuietly } from './return-quietly.js'
import { type HeaderChanges, streamHeaders } from './serve.js'
import type { Sink } from './sink.js'

/** Options of a response that no hub feeds. */
export interface DirectOptions {
  /** The longest the response stays idle before a heartbeat, in milliseconds. Default: 15,000. */
  heartbeatMs?: number | undefined
  /** A comment, or the event `stream:heartbeat`. Default: `'comment'`. */
  heartbeatAs?: 'comment' | 'event' | undefined
  /** How long a write may wait for the peer before the response is destroyed, in milliseconds. Default: 30,000. */
  writeTimeoutMs?: number | undefined
  /** The largest frame, in bytes. Default: 1 MiB. */
  maxFrameBytes?: number | undefined
  /** The most that may be un-awaited while the peer takes nothing, in bytes. Default: 1 MiB. */
  maxPendingBytes?: number | undefined
  /** The range in milliseconds that `retry` is drawn from. Default: [1000, 5000]. */
  retryMs?: readonly [number, number] | undefined
  /** Sets or removes fields of the head. */
  headers?: HeaderChanges | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

/** One response that you write to yourself. */
export interface DirectConnection {
  readonly id: string
  /** Aborted when the response is over. */
  readonly signal: AbortSignal
  /** Why it is over; `undefined` while it is open. */
  readonly reason: Reason | undefined
  /**
   * Sends an event. Resolves when there is room for the next: await it, and a slow reader slows you down.
   *
   * @throws TypeError for what no frame can carry. SseError `CLOSED`, `WRITE_TIMEOUT`, `FRAME_TOO_LARGE`,
   * `OVERLOADED` (more than `maxPendingBytes` un-awaited).
   */
  send(event: SseEvent): Promise<void>
  /** Sends a comment, under the same rules. */
  comment(text?: string): Promise<void>
  /**
   * Ends the response in order, once what was sent is taken.
   *
   * @param reason - what the client is told. After `'sealed'`, the default, it does not come back.
   */
  close(reason?: EndReason): void
}

const encoder = new TextEncoder()

/** The checked options of many responses, and the timers that they share. */
export class DirectServer {
  readonly headers: Record<string, string>
  readonly #schedule: Schedule
  readonly #retryMs: readonly [number, number]
  readonly #maxFrameBytes: number
  readonly #maxPendingBytes: number

  constructor(options: DirectOptions = {}) {
    this.headers = streamHeaders(options.headers)
    this.#retryMs = retryRange(options.retryMs)
    this.#maxFrameBytes = bound('maxFrameBytes', options.maxFrameBytes, 1024 * 1024)
    this.#maxPendingBytes = bound('maxPendingBytes', options.maxPendingBytes, 1024 * 1024)
    this.#schedule = new Schedule({
      clock: options.clock ?? systemClock,
      heartbeatMs: duration('heartbeatMs', options.heartbeatMs, 15_000),
      heartbeatAs: oneOf('heartbeatAs', options.heartbeatAs, ['comment', 'event'], 'comment'),
      writeTimeoutMs: duration('writeTimeoutMs', options.writeTimeoutMs, 30_000),
    })
  }

  /** Opens a response whose head was sent. */
  open(sink: Sink): DirectConnection {
    const feed = new DirectFeed(this.#maxFrameBytes, this.#maxPendingBytes)
    const connection = new Connection(sink, this.#schedule, feed)
    feed.connection = connection
    const heartbeatMs = this.#schedule.heartbeats.intervalMs
    const time = Math.round(this.#schedule.clock.now())
    connection.start(encodeReady({ connection: connection.id, heartbeatMs, time }, drawRetry(this.#retryMs)))
    return {
      id: connection.id,
      get signal() {
        return connection.signal
      },
      get reason() {
        return connection.reason
      },
      send: async (event) => feed.send(encodeEvent(event)),
      comment: async (text) => feed.send(encodeComment(text)),
      close: (reason = 'sealed') => connection.end(reason),
    }
  }
}

/** Small frames are bounded by their number: each wait holds more than its bytes. */
const MAX_WAITS = 4_096

interface Wait {
  resolve(): void
  reject(error: SseError): void
}

/** Waits for room, for whoever sends. */
class DirectFeed implements Feed {
  connection: Connection | undefined
  readonly #maxFrameBytes: number
  readonly #maxPendingBytes: number
  #waits: Wait[] = []
  #pendingBytes = 0

  constructor(maxFrameBytes: number, maxPendingBytes: number) {
    this.#maxFrameBytes = maxFrameBytes
    this.#maxPendingBytes = maxPendingBytes
  }

  send(frame: string): Promise<void> | undefined {
    const { connection } = this
    if (!connection?.open) throw closedError(connection?.reason)
    const bytes = encoder.encode(frame)
    if (bytes.length > this.#maxFrameBytes) {
      throw new SseError(
        'FRAME_TOO_LARGE',
        `The frame takes ${bytes.length} bytes, more than \`maxFrameBytes\` (${this.#maxFrameBytes}).`,
      )
    }
    const isFull = this.#waits.length >= MAX_WAITS || this.#pendingBytes + bytes.length > this.#maxPendingBytes
    if (connection.blocked && isFull) {
      throw new SseError(
        'OVERLOADED',
        `More than \`maxPendingBytes\` (${this.#maxPendingBytes}) un-awaited. Await each send before the next.`,
      )
    }
    if (connection.write(bytes)) return undefined
    this.#pendingBytes += bytes.length
    return new Promise((resolve, reject) => this.#waits.push({ resolve, reject }))
  }

  pump(): void {
    this.#pendingBytes = 0
    for (const wait of this.#waits.splice(0)) wait.resolve()
  }

  closed(reason: Reason): void {
    for (const wait of this.#waits.splice(0)) wait.reject(closedError(reason))
  }
}

function closedError(reason: Reason | undefined): SseError {
  return reason === 'WRITE_TIMEOUT'
    ? new SseError('WRITE_TIMEOUT', 'The peer took nothing for the write deadline.')
    : new SseError('CLOSED', `The response is closed (${reason ?? 'not open yet'}).`)
}

/** Options of a response that an iterable feeds. */
export interface IterableOptions extends DirectOptions {
  /**
   * What becomes of the iterable when the client has gone: `'abort'` ends it, `'drain'` reads it to its end
   * and discards it. Default: `'abort'`.
   */
  onDisconnect?: 'abort' | 'drain' | undefined
  /** Told of what the iterable throws after the head. Default: `console.error`. */
  onError?: ((error: unknown) => void) | undefined
}

/** The function that answers one request with events of its own. */
export type EventsOf<Request> = (
  request: Request,
  context: { signal: AbortSignal; lastEventId: string | undefined },
) => AsyncIterable<SseEvent> | Promise<AsyncIterable<SseEvent>>

/** A first step that was given one turn of the loop, so that what it throws at once is before the head. */
export interface Started {
  readonly iterator: AsyncIterator<SseEvent>
  readonly first: Promise<IteratorResult<SseEvent>>
}

/** Asks an iterable for its first event and waits one turn. Rejects with what it throws by then. */
export async function startIterable(iterable: AsyncIterable<SseEvent>): Promise<Started> {
  const iterator = iterable[Symbol.asyncIterator]()
  const first = iterator.next()
  first.catch(() => {})
  await Promise.race([first, turn()])
  return { iterator, first }
}

/** Sends what the iterable yields, one at a time, at the pace of the reader. */
export async function pour(
  { iterator, first }: Started,
  connection: DirectConnection,
  options: Pick<IterableOptions, 'onDisconnect' | 'onError'>,
): Promise<void> {
  const abort = () => {
    if (options.onDisconnect !== 'drain') returnQuietly(iterator)
  }
  connection.signal.addEventListener('abort', abort, { once: true })
  if (connection.signal.aborted) abort()
  try {
    for (let result = await first; !result.done; result = await iterator.next()) {
      if (!connection.signal.aborted) await connection.send(result.value).catch(ignoreClosed)
      if (!connection.signal.aborted) continue
      if (options.onDisconnect !== 'drain') return
      // Nothing slows an iterable that is drained, and others want their turn.
      await turn()
    }
    connection.close('sealed')
  } catch (error) {
    reportTo(options.onError, error)
    connection.close('error')
    abort()
  } finally {
    connection.signal.removeEventListener('abort', abort)
  }
}

function ignoreClosed(error: unknown): void {
  if (!(error instanceof SseError) || (error.code !== 'CLOSED' && error.code !== 'WRITE_TIMEOUT')) throw error
}
