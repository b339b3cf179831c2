import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import { sqlState } from './postgres-pool.js'

/** So long everybody may wait for the lock of a stream, as processes that write in turn do. */
const FIRST_MS = 200
/** So long at each later try of those who must not wait in the database. */
const AGAIN_MS = 20
const PAUSES_MS: readonly [number, number] = [100, 2_000]

export interface PostgresLocksOptions {
  readonly clock: () => Clock
  /** How long a stream may stay locked, all in all. */
  readonly patienceMs: number
  /** How many may wait in the database for long: each holds a connection meanwhile. */
  readonly maxWaiting: number
}

/** Waits for streams that a transaction has locked, without taking the connections of those that are not. */
export class PostgresLocks {
  readonly #options: PostgresLocksOptions
  #waiting = 0

  constructor(options: PostgresLocksOptions) {
    this.#options = options
  }

  /** Runs `work`, which gives up by itself after `lockMs` of waiting for the lock. */
  async run<T>(stream: string, work: (lockMs: number) => Promise<T>): Promise<T> {
    const { clock, patienceMs, maxWaiting } = this.#options
    const until = clock().now() + patienceMs
    for (let tries = 0; ; tries++) {
      const left = Math.max(1, Math.ceil(until - clock().now()))
      const waits = tries > 0 && this.#waiting < maxWaiting
      if (waits) this.#waiting++
      try {
        return await work(waits ? left : Math.min(left, tries === 0 ? FIRST_MS : AGAIN_MS))
      } catch (error) {
        if (sqlState(error) !== '55P03') throw error
        if (clock().now() >= until) throw locked(stream, patienceMs, error)
      } finally {
        if (waits) this.#waiting--
      }
      if (this.#waiting >= maxWaiting) await this.#pause(tries, until)
    }
  }

  #pause(tries: number, until: number): Promise<void> {
    const clock = this.#options.clock()
    const [least, most] = PAUSES_MS
    const ms = Math.min(most, least * 2 ** Math.min(tries, 8)) * (0.5 + Math.random() / 2)
    return new Promise((resolve) => {
      clock.setTimeout(resolve, Math.min(ms, Math.max(0, until - clock.now())))
    })
  }
}

function locked(stream: string, ms: number, cause: unknown): SseError {
  return new SseError(
    'STORE_UNAVAILABLE',
    `The stream ${JSON.stringify(stream)} is locked by a transaction that did not end within ${ms} ms: nothing was written.`,
    { cause },
  )
}
