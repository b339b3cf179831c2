import type { Gap } from '../protocol/control.js'
import type { Connection, Reason, Schedule } from './connection.js'
import type { Deliveries } from './deliveries.js'
import type { Diagnostics } from './diagnostics.js'
import { Follower, type FollowerEvents } from './follower.js'
import type { ConnectionHooks, HubConnection, Joined } from './hub.js'
import { drawRetry } from './hub-options.js'
import type { Entry } from './joins.js'
import type { Registry } from './registry.js'
import type { Sink } from './sink.js'
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
  readonly #entry: Entry
  readonly #pollMs: number | undefined
  #hooks: ConnectionHooks<Request> = {}
  #seen: Seen<Request> | undefined
  #openedAt = 0
  #isOver = false
  #cancelAge: (() => void) | undefined

  constructor(host: VisitHost, stream: string, request: Request, entry: Entry, pollMs: number | undefined) {
    this.#host = host
    this.#stream = stream
    this.#request = request
    this.#entry = entry
    this.#pollMs = pollMs
    this.#follower = new Follower(entry.log, this)
  }

  get complete(): boolean {
    const { log, start } = this.#entry
    const { sealed, head } = log.tail.view
    return sealed && start.resumed === 'ok' && start.place.offset === head
  }

  open(sink: Sink, hooks: ConnectionHooks<Request>): Connection {
    this.#hooks = hooks
    const { schedule, retryMs, padding } = this.#host
    const opening = { retryMs: drawRetry(retryMs), padding, pollMs: this.#pollMs }
    const connection = this.#follower.open(sink, schedule, this.#entry.start, opening)
    if (this.#host.isClosing()) connection.end('shutdown')
    return connection
  }

  abandon(): void {
    this.#follower.abandon('client')
  }

  opened(connection: Connection): void {
    const { registry, deliveries, diagnostics, schedule } = this.#host
    const { log, start } = this.#entry
    const seen = new Seen(connection, this.#stream, this.#request)
    this.#seen = seen
    this.#openedAt = schedule.clock.now()
    if (start.gap) this.#host.gap()
    diagnostics.opened(seen, start, log.tail.view.head, this.#pollMs !== undefined)
    deliveries.add(seen, start, this.#follower, log.tail)
    this.#cancelAge = registry.opened(connection, seen)
    this.#hooks.onOpen?.(seen)
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
    tails.release(this.#entry.log.tail)
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
