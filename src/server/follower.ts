import { encodeGap, encodeReady, type Gap } from '../protocol/control.js'
import { formatCursor, type Place } from '../protocol/cursor.js'
import { Connection, type Feed, type Reason, type Schedule } from './connection.js'
import { type Log, type Start, type Step, stepAfter } from './reader.js'
import type { TailReader } from './readers.js'
import type { Sink } from './sink.js'
import type { Tail } from './tail.js'

const encoder = new TextEncoder()
/** A poll that has brought so much is answered: what follows is the next one's. */
const POLL_BYTES = 256 * 1024

/** How a follower opens its connection. */
export interface FollowerOpening {
  readonly retryMs: number
  readonly padding: string
  /** Ends the response after the first batch, or so many milliseconds without one. */
  readonly pollMs: number | undefined
}

/** A poll under way. */
interface Poll {
  /** What it has brought, in bytes. */
  bytes: number
  readonly cancel: () => void
}

/**
 * A reader of a stream over one response. It owns a place, never a queue: it writes from there to the head
 * while the connection has room, and live events and replayed ones come by the same loop.
 */
export abstract class Follower implements Feed, TailReader {
  readonly #log: Log
  #place: Place | undefined
  #connection: Connection | undefined
  #stepping = false
  /** `undefined` for a response that stays open. */
  #poll: Poll | undefined

  constructor(log: Log) {
    this.#log = log
    log.tail.add(this)
  }

  /** The connection is there, and nothing is written yet. */
  protected abstract opened(connection: Connection): void
  /** A gap under way; that of the start is known. */
  protected abstract passed(gap: Gap): void
  abstract skipped(): void
  abstract timedOut(): void

  get tail(): Tail {
    return this.#log.tail
  }

  get connection(): Connection | undefined {
    return this.#connection
  }

  get place(): Place | undefined {
    return this.#place
  }

  /** Opens the connection on a response whose head was sent. */
  protected follow(sink: Sink, schedule: Schedule, start: Start, opening: FollowerOpening): Connection {
    const connection = new Connection(sink, schedule, this)
    this.#connection = connection
    this.#place = start.place
    const cursor = formatCursor(start.place)
    const ready = {
      connection: connection.id,
      resumed: start.resumed,
      heartbeatMs: schedule.heartbeats.intervalMs,
      time: Math.round(schedule.clock.now()),
    }
    let first = opening.padding
    if (start.gap) {
      first += encodeReady(ready, opening.retryMs) + encodeGap(start.gap, cursor)
    } else first += encodeReady(ready, opening.retryMs, cursor)
    this.opened(connection)
    if (opening.pollMs !== undefined) {
      const cancel = schedule.clock.setTimeout(() => connection.end('poll'), opening.pollMs, false)
      this.#poll = { bytes: start.gap ? first.length : 0, cancel }
    }
    connection.start(first)
    return connection
  }

  wake(): void {
    if (this.#connection && !this.#connection.blocked) this.pump()
  }

  pump(): void {
    const connection = this.#connection
    if (!connection || this.#stepping) return
    try {
      while (connection.open && !connection.blocked && this.#place) {
        const step = stepAfter(this.#log, this.#place)
        if (step instanceof Promise) {
          this.#await(step, connection)
          return
        }
        if (!this.#take(step, connection)) return
      }
    } catch {
      connection.destroy('error')
    }
  }

  #await(step: Promise<Step>, connection: Connection): void {
    this.#stepping = true
    step.then(
      (taken) => {
        this.#stepping = false
        if (connection.open && this.#take(taken, connection)) this.pump()
      },
      () => {
        this.#stepping = false
        if (connection.open) this.#log.tail.storeFailed()
      },
    )
  }

  /** The only place where the position moves: with the bytes that carry it there. Returns whether to go on. */
  #take(step: Step, connection: Connection): boolean {
    switch (step.kind) {
      case 'frames':
        this.#place = step.end
        connection.write(step.bytes, step.chunk)
        this.#log.tail.moved()
        return this.#goesOn(connection, step.bytes.length, POLL_BYTES)
      case 'gap': {
        this.#place = step.place
        this.passed(step.gap)
        const frame = encoder.encode(encodeGap(step.gap, formatCursor(step.place)))
        connection.write(frame)
        return this.#goesOn(connection, frame.length, POLL_BYTES)
      }
      case 'again':
        return true
      case 'sealed':
        connection.end('sealed')
        return false
      case 'wait':
        this.#goesOn(connection, 0, 1)
        return false
    }
  }

  /** Ends a poll that has brought `enough` bytes. Returns whether to go on. */
  #goesOn(connection: Connection, bytes: number, enough: number): boolean {
    if (this.#poll === undefined) return true
    this.#poll.bytes += bytes
    if (this.#poll.bytes < enough) return true
    connection.end('poll')
    return false
  }

  closed(_: Reason): void {
    this.#log.tail.remove(this)
    this.#place = undefined
    this.#poll?.cancel()
  }
}
