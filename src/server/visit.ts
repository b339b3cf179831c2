import type { Gap } from '../protocol/control.js'
import type { StreamView } from '../protocol/store.js'
import type { Connection, Reason, Schedule } from './connection.js'
import type { Deliveries, Said, Tracked } from './deliveries.js'
import type { Diagnostics } from './diagnostics.js'
import { Follower } from './follower.js'
import type { ConnectionHooks, HubConnection, Joined, JoinRequest } from './hub.js'
import { drawRetry } from './hub-options.js'
import type { Log, Start } from './reader.js'
import type { Registered, Registry } from './registry.js'
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
 * here, in few objects and no closures: ten thousand of them are idle at a time.
 */
export class Visit<Request> extends Follower implements Joined<Request>, Tracked, Registered {
  readonly start: Start
  said: Said | undefined
  readonly #host: VisitHost
  readonly #stream: string
  /** What was asked for, until it is opened. */
  #asked: JoinRequest<Request> | undefined
  #hooks: ConnectionHooks<Request> | undefined
  #seen: Seen<Request> | undefined
  #openedAt = 0
  #isUnwelcome = false
  #isOver = false
  #cancelAge: (() => void) | undefined

  constructor(host: VisitHost, stream: string, asked: JoinRequest<Request>, log: Log, start: Start) {
    super(log)
    this.#host = host
    this.#stream = stream
    this.#asked = asked
    this.start = start
  }

  get complete(): boolean {
    const { sealed, head } = this.view
    return sealed && this.start.resumed === 'ok' && this.start.place.offset === head
  }

  get view(): StreamView {
    return this.tail.view
  }

  get seen(): HubConnection<Request> {
    return this.#seen as Seen<Request>
  }

  open(sink: Sink, hooks: ConnectionHooks<Request>): Connection {
    this.#hooks = hooks
    const { schedule, retryMs, padding } = this.#host
    const opening = { retryMs: drawRetry(retryMs), padding, pollMs: this.#asked?.pollMs }
    const connection = this.follow(sink, schedule, this.start, opening)
    if (this.#host.isClosing()) connection.end('shutdown')
    if (this.#isUnwelcome) connection.end('error')
    return connection
  }

  abandon(): void {
    if (!this.connection) this.closed('client')
  }

  protected override opened(connection: Connection): void {
    const { registry, diagnostics, schedule } = this.#host
    const { request, pollMs } = this.#asked as JoinRequest<Request>
    const { start } = this
    const seen = new Seen(connection, this.#stream, request)
    this.#asked = undefined
    this.#seen = seen
    this.#openedAt = schedule.now()
    if (start.gap) this.#host.gap()
    diagnostics.opened(seen, start, this.view.head, pollMs !== undefined)
    this.#cancelAge = registry.opened(this)
    this.#isUnwelcome = this.#hooks?.onOpen?.(seen) === false
  }

  protected override passed(gap: Gap): void {
    this.#host.gap()
    this.#host.diagnostics.gap(this.#seen, gap)
  }

  override skipped(): void {
    this.#host.diagnostics.skipped(this.#seen)
  }

  override timedOut(): void {
    this.#host.diagnostics.timedOut(this.#seen, this.#host.writeTimeoutMs)
  }

  override closed(reason: Reason): void {
    super.closed(reason)
    const { registry, tails, deliveries, diagnostics, schedule } = this.#host
    const seen = this.#seen
    if (this.#isOver) return
    this.#isOver = true
    registry.free()
    tails.release(this.tail)
    if (!seen) return
    deliveries.forget(this)
    this.#cancelAge?.()
    registry.closed(this, reason)
    diagnostics.closed(seen, reason, schedule.now() - this.#openedAt)
    this.#hooks?.onClose?.(seen, reason)
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
