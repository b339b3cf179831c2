import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { Connection, Reason } from './connection.js'
import type { Diagnostics } from './diagnostics.js'
import type { ConnectionHooks, HubConnection } from './hub.js'

/** A connection is ended at a random moment of the last fifth of its allowed age, lest all end together. */
const AGE_JITTER = 0.2

export function drawAge(maxAgeMs: number): number {
  return maxAgeMs * (1 - AGE_JITTER * Math.random())
}

/** The connections of a hub: how many there may be, which are open, and how they ended. */
export class Registry {
  readonly #clock: Clock
  readonly #diagnostics: Diagnostics
  readonly #maxConnections: number
  readonly #maxAgeMs: number | undefined
  readonly #open = new Map<Connection, HubConnection>()
  readonly #closed: Record<Reason, number> = {
    client: 0,
    sealed: 0,
    shutdown: 0,
    maxAge: 0,
    poll: 0,
    WRITE_TIMEOUT: 0,
    disconnected: 0,
    error: 0,
  }
  #places = 0
  #opened = 0
  #emptied: (() => void) | undefined

  constructor(
    options: { clock: Clock; maxConnections: number; maxAgeMs: number | undefined },
    diagnostics: Diagnostics,
  ) {
    this.#clock = options.clock
    this.#diagnostics = diagnostics
    this.#maxConnections = options.maxConnections
    this.#maxAgeMs = options.maxAgeMs
  }

  get size(): number {
    return this.#open.size
  }

  get opened(): number {
    return this.#opened
  }

  get closed(): Record<Reason, number> {
    return { ...this.#closed }
  }

  /** Takes a place for a connection that is about to join. Nobody is evicted for it. @throws SseError `OVERLOADED`. */
  reserve(): () => void {
    if (this.#places >= this.#maxConnections) {
      throw new SseError('OVERLOADED', `All \`maxConnections\` (${this.#maxConnections}) connections are taken.`)
    }
    this.#places++
    let held = true
    return () => {
      if (held) this.#places--
      held = false
    }
  }

  /** Counts a connection in until it is over. Returns what counts it out, and tells the hook. */
  register<Request>(
    connection: Connection,
    seen: HubConnection<Request>,
    hooks: ConnectionHooks<Request>,
  ): (reason: Reason) => void {
    const openedAt = this.#clock.now()
    this.#opened++
    this.#open.set(connection, seen)
    const cancelAge = this.#limitAge(connection)
    hooks.onOpen?.(seen)
    return (reason) => {
      cancelAge?.()
      this.#open.delete(connection)
      this.#closed[reason]++
      if (this.#open.size === 0) this.#emptied?.()
      this.#diagnostics.closed(seen, reason, this.#clock.now() - openedAt)
      hooks.onClose?.(seen, reason)
    }
  }

  disconnect(which: (connection: HubConnection) => boolean): number {
    const chosen = [...this.#open.values()].filter(which)
    for (const connection of chosen) connection.close()
    return chosen.length
  }

  /** Ends all, and cuts off those who have not taken their end within `graceMs`. */
  async shutDown(graceMs: number): Promise<void> {
    if (this.#open.size === 0) return
    const emptied = new Promise<void>((resolve) => {
      this.#emptied = resolve
    })
    const cancel = this.#clock.setTimeout(() => {
      for (const connection of [...this.#open.keys()]) connection.destroy('shutdown')
    }, graceMs)
    for (const connection of [...this.#open.keys()]) connection.end('shutdown')
    await emptied
    cancel()
  }

  #limitAge(connection: Connection): (() => void) | undefined {
    if (this.#maxAgeMs === undefined) return undefined
    return this.#clock.setTimeout(() => connection.end('maxAge'), drawAge(this.#maxAgeMs), false)
  }
}

/** A connection as users see it. */
export function seenFromOutside<Request>(
  connection: Connection,
  stream: string,
  request: Request,
): HubConnection<Request> {
  return {
    id: connection.id,
    stream,
    request,
    get signal() {
      return connection.signal
    },
    get reason() {
      return connection.reason
    },
    close: () => connection.end('disconnected'),
  }
}
