import type { Clock } from '../protocol/clock.js'
import { type EndReason, encodeEnd } from '../protocol/control.js'
import { Deadlines } from './deadlines.js'
import { Heartbeats, Pulse } from './heartbeat.js'
import type { Sink, SinkListener } from './sink.js'

/** Why a connection is over. `poll`: it was a poll, and is answered. */
export type Reason = 'client' | 'sealed' | 'shutdown' | 'maxAge' | 'poll' | 'WRITE_TIMEOUT' | 'disconnected' | 'error'

/** What fills a connection: it writes when there is room, and stops when the connection is over. */
export interface Feed {
  /** What was written is taken. While the connection is open there is room: write until a write returns false. */
  pump(): void
  /** A heartbeat was due while a write was pending. */
  skipped?(): void
  /** The write deadline has passed; the connection is about to be cut. */
  timedOut?(): void
  closed(reason: Reason): void
}

/** The timers that many connections share. */
export class Schedule {
  readonly clock: Clock
  readonly heartbeats: Heartbeats
  readonly deadlines: Deadlines<Connection>

  constructor(options: {
    clock: Clock
    heartbeatMs: number
    heartbeatAs: 'comment' | 'event'
    heartbeatPadBytes?: number | undefined
    writeTimeoutMs: number
  }) {
    this.clock = options.clock
    this.heartbeats = new Heartbeats(options.clock, options.heartbeatMs, options.heartbeatAs, options.heartbeatPadBytes)
    this.deadlines = new Deadlines(options.clock, options.writeTimeoutMs, (late) => late.timedOut())
  }

  /** Whole milliseconds since it began. */
  now(): number {
    return this.heartbeats.now()
  }
}

const encoder = new TextEncoder()

/**
 * One open response: whether it has room, since when it is idle, and why it ended.
 *
 * A blocked episode runs from a write that returned false to the drain; one that outlasts the write
 * deadline destroys the response. Nothing else ever cuts a slow reader.
 */
export class Connection extends Pulse implements SinkListener {
  readonly id = unguessable()
  readonly #sink: Sink
  readonly #schedule: Schedule
  readonly #feed: Feed
  /** `ending`: the peer has no room yet for the words of the end. `ended`: they are said. */
  #phase: 'new' | 'open' | 'ending' | 'ended' | 'closed' = 'new'
  /** An end that was called for before the first frame was written. */
  #earlyEnd: Reason | undefined
  #abort: AbortController | undefined
  #reason: Reason | undefined
  blocked = false
  idleSince: number

  constructor(sink: Sink, schedule: Schedule, feed: Feed) {
    super()
    this.#sink = sink
    this.#schedule = schedule
    this.#feed = feed
    this.idleSince = schedule.now()
  }

  /** Begins to listen and to beat, writes `first` and lets the feed fill the room that is left. */
  start(first: string): void {
    if (this.#phase !== 'new') return
    this.#phase = 'open'
    this.#schedule.heartbeats.add(this)
    this.#sink.bind(this)
    if (this.open) this.write(encoder.encode(first))
    if (this.#earlyEnd) this.end(this.#earlyEnd)
    else if (this.open && !this.blocked) this.#feed.pump()
  }

  /** Whether frames may be written. */
  get open(): boolean {
    return this.#phase === 'open' || this.#phase === 'new'
  }

  get reason(): Reason | undefined {
    return this.#reason
  }

  /** Aborted when the connection is over; its reason is the close reason. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController()
      if (this.#phase === 'closed') this.#abort.abort(this.#reason)
    }
    return this.#abort.signal
  }

  /** Writes whole frames, with the chunk they make if that is at hand. Returns whether there is room for more. */
  write(bytes: Uint8Array, chunk?: Uint8Array): boolean {
    if (!this.open) return false
    this.idleSince = this.#schedule.now()
    if (this.#sink.write(bytes, chunk)) return !this.blocked
    if (this.open) {
      this.blocked = true
      this.#schedule.deadlines.add(this)
    }
    return false
  }

  beat(frame: Uint8Array, chunk: Uint8Array): void {
    this.write(frame, chunk)
  }

  skip(): void {
    this.#feed.skipped?.()
  }

  timedOut(): void {
    this.#feed.timedOut?.()
    this.destroy('WRITE_TIMEOUT')
  }

  drained(): void {
    if (this.#phase === 'closed') return
    this.blocked = false
    this.#schedule.deadlines.delete(this)
    this.idleSince = this.#schedule.now()
    // Also when the end is near: who waits for what was written may go on.
    this.#feed.pump()
    if (this.#phase === 'ending' && !this.blocked) this.#sayGoodbye()
  }

  /** Ends the response in order, saying why, once the peer has room for it. */
  end(reason: Reason): void {
    if (!this.open) return
    if (this.#phase === 'new') {
      this.#earlyEnd ??= reason
      return
    }
    this.#phase = 'ending'
    this.#reason = reason
    if (!this.blocked) this.#sayGoodbye()
  }

  /** Cuts the response off. */
  destroy(reason: Reason): void {
    if (this.#phase === 'closed') return
    this.#reason ??= reason
    this.#sink.destroy()
    this.closed()
  }

  closed(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.blocked = false
    this.#schedule.deadlines.delete(this)
    this.#schedule.heartbeats.remove(this)
    const reason = this.#reason ?? 'client'
    this.#reason = reason
    this.#abort?.abort(reason)
    this.#feed.closed(reason)
  }

  #sayGoodbye(): void {
    this.#phase = 'ended'
    // The end must arrive within the write deadline, like everything else.
    this.#schedule.deadlines.add(this)
    const reason = this.#reason ?? 'error'
    // The end of a poll is no end of the stream.
    if (reason !== 'poll') this.#sink.write(encoder.encode(encodeEnd(endReason(reason))))
    this.#sink.end()
  }
}

function endReason(reason: Reason): EndReason {
  switch (reason) {
    case 'sealed':
    case 'shutdown':
    case 'maxAge':
      return reason
    default:
      return 'error'
  }
}

/** Drawn many at a time: one by one they were a twentieth of what a join takes. */
const drawn = { words: new Uint32Array(0), used: 0 }

/** Whoever knows the name of a connection can acknowledge for it: it is told to nobody but its client. */
function unguessable(): string {
  if (drawn.used === drawn.words.length) {
    drawn.words = crypto.getRandomValues(new Uint32Array(256))
    drawn.used = 0
  }
  const four = drawn.words.subarray(drawn.used, drawn.used + 4)
  drawn.used += 4
  // Joined, not added up: that would leave a rope, twice the size, with every idle connection.
  return Array.from(four, (part) => part.toString(36)).join('')
}
