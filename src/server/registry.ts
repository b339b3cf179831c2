import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { Connection, Reason } from './connection.js'
import type { Tracked } from './deliveries.js'
import type { HubConnection } from './hub.js'

/** An open connection, as the hub finds it. */
export interface Registered extends Tracked {
  readonly connection: Connection | undefined
}

/** A connection is ended at a random moment of the last fifth of its allowed age, lest all end together. */
const AGE_JITTER = 0.2

export function drawAge(maxAgeMs: number): number {
  return maxAgeMs * (1 - AGE_JITTER * Math.random())
}

/** The connections of a hub: how many there may be, which are open, and how they ended. */
export class Registry {
  readonly #clock: Clock
  readonly #maxConnections: number
  readonly #maxAgeMs: number | undefined
  /** By the names that the clients know. */
  readonly #open = new Map<string, Registered>()
  readonly #ended: Record<Reason, number> = {
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
  #begun = 0
  #emptied: (() => void) | undefined

  constructor(options: { clock: Clock; maxConnections: number; maxAgeMs: number | undefined }) {
    this.#clock = options.clock
    this.#maxConnections = options.maxConnections
    this.#maxAgeMs = options.maxAgeMs
  }

  get size(): number {
    return this.#open.size
  }

  /** How many were opened since the beginning. */
  get begun(): number {
    return this.#begun
  }

  /** How many were closed since the beginning, by reason. */
  get ended(): Record<Reason, number> {
    return { ...this.#ended }
  }

  /** Takes a place for a connection that is about to join. Nobody is evicted for it. @throws SseError `OVERLOADED`. */
  reserve(): void {
    if (this.#places >= this.#maxConnections) {
      throw new SseError('OVERLOADED', `All \`maxConnections\` (${this.#maxConnections}) connections are taken.`)
    }
    this.#places++
  }

  /** Gives a place back. */
  free(): void {
    this.#places--
  }

  get(id: string): Registered | undefined {
    return this.#open.get(id)
  }

  all(): Iterable<Registered> {
    return this.#open.values()
  }

  /** Counts a connection in. Returns what cancels the limit of its age, if there is one. */
  opened(visit: Registered): (() => void) | undefined {
    this.#begun++
    this.#open.set(visit.seen.id, visit)
    if (this.#maxAgeMs === undefined) return undefined
    return this.#clock.setTimeout(() => visit.connection?.end('maxAge'), drawAge(this.#maxAgeMs), false)
  }

  /** Counts it out. */
  closed(visit: Registered, reason: Reason): void {
    this.#open.delete(visit.seen.id)
    this.#ended[reason]++
    if (this.#open.size === 0) this.#emptied?.()
  }

  disconnect(which: (connection: HubConnection) => boolean): number {
    const chosen = Array.from(this.#open.values(), ({ seen }) => seen).filter(which)
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
      for (const { connection } of [...this.#open.values()]) connection?.destroy('shutdown')
    }, graceMs)
    for (const { connection } of [...this.#open.values()]) connection?.end('shutdown')
    await emptied
    cancel()
  }
}
