import type { Gap } from '../protocol/control.js'
import type { Connection, Reason, Schedule } from './connection.js'
import type { Deliveries } from './deliveries.js'
import type { Diagnostics } from './diagnostics.js'
import { Follower, type FollowerEvents } from './follower.js'
import type { ConnectionHooks, HubConnection, Joined, JoinRequest } from './hub.js'
import { drawRetry } from './hub-options.js'
import type { Log, Start } from './reader.js'
import type { Registry } from './registry.js'
import type { Sink } from './sink.js'
import type { Tail } from './tail.js'
import type { Tails } from './tails.js'

/** What all visits of a hub share. */
export interface VisitHost {
  readonly registry: Registry
  readonly tails: Tails
  readonly deliveries: Deliveries
  readonly diagnostics: Diagnostics
  readonly schedule: Schedule
  readonly retryMs: readonly [number, number]
  /** What stands before the first frame. */
  readonly padding: string
  readonly writeTimeoutMs: number
  isClosing(): boolean
  /** A gap was announced. */
  gap(): void
}

/**
 * One reader of a hub over a response, from its join to its end. All that a hub holds for an idle connection hangs
 * here, in one object without closures.
 */
export class Visit<Request> implements Joined<Request>, FollowerEvents {
  readonly #host: VisitHost
  readonly #stream: string
  readonly #request: Request
  readonly #follower: Follower
  readonly #tail: Tail
  readonly #start: Start
  readonly #pollMs: number | undefined
  #hooks: ConnectionHooks<Request> = {}
  #seen: Seen<Request> | undefined
  #openedAt = 0
  #isUnwelcome = false
  #isOver = false
  #cancelAge: (() => void) | undefined

  constructor(host: VisitHost, stream: string, asked: JoinRequest<Request>, log: Log, start: Start) {
    this.#host = host
    this.#stream = stream
    this.#request = asked.request
    this.#pollMs = asked.pollMs
    this.#tail = log.tail
    this.#start = start
    this.#follower = new Follower(log, this)
  }

  get complete(): boolean {
    const { sealed, head } = this.#tail.view
    return sealed && this.#start.resumed === 'ok' && this.#start.place.offset === head
  }

  open(sink: Sink, hooks: ConnectionHooks<Request>): Connection {
    this.#hooks = hooks
    const { schedule, retryMs, padding } = this.#host
    const opening = { retryMs: drawRetry(retryMs), padding, pollMs: this.#pollMs }
    const connection = this.#follower.open(sink, schedule, this.#start, opening)
    if (this.#host.isClosing()) connection.end('shutdown')
    if (this.#isUnwelcome) connection.end('error')
    return connection
  }

  abandon(): void {
    this.#follower.abandon('client')
  }

  opened(connection: Connection): void {
    const { registry, deliveries, diagnostics, schedule } = this.#host
    const start = this.#start
    const seen = new Seen(connection, this.#stream, this.#request)
    this.#seen = seen
    this.#openedAt = schedule.clock.now()
    if (start.gap) this.#host.gap()
    diagnostics.opened(seen, start, this.#tail.view.head, this.#pollMs !== undefined)
    deliveries.add(seen, start, this.#follower, this.#tail)
    this.#cancelAge = registry.opened(connection, seen)
    this.#isUnwelcome = this.#hooks.onOpen?.(seen) === false
  }

  gap(gap: Gap): void {
    this.#host.gap()
    this.#host.diagnostics.gap(this.#seen, gap)
  }

  skipped(): void {
    this.#host.diagnostics.skipped(this.#seen)
  }

  timedOut(): void {
    this.#host.diagnostics.timedOut(this.#seen, this.#host.writeTimeoutMs)
  }

  closed(reason: Reason): void {
    const { registry, tails, deliveries, diagnostics, schedule } = this.#host
    const seen = this.#seen
    if (this.#isOver) return
    this.#isOver = true
    registry.free()
    tails.release(this.#tail)
    if (!seen) return
    deliveries.remove(seen.id)
    this.#cancelAge?.()
    registry.closed(this.#follower.connection as Connection, reason)
    diagnostics.closed(seen, reason, schedule.clock.now() - this.#openedAt)
    this.#hooks.onClose?.(seen, reason)
  }
}

/** A connection as users see it. */
class Seen<Request> implements HubConnection<Request> {
  readonly id: string
  readonly stream: string
  readonly request: Request
  readonly #connection: Connection

  constructor(connection: Connection, stream: string, request: Request) {
    this.id = connection.id
    this.stream = stream
    this.request = request
    this.#connection = connection
  }

  get signal(): AbortSignal {
    return this.#connection.signal
  }

  get reason(): Reason | undefined {
    return this.#connection.reason
  }

  close(): void {
    this.#connection.end('disconnected')
  }
}
