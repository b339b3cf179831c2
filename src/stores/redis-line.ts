import type { Clock } from '../protocol/clock.js'
import type { RedisConnection } from './redis-connection.js'

/** A script, and the name that Redis gave it. */
export class RedisScript {
  readonly source: string
  sha: string | undefined

  constructor(source: string) {
    this.source = source
  }
}

/** The most that may be under way at once: a client's own queue has no bound while its server is away. */
const MAX_COMMANDS = 10_000
const MAX_CHARS = 64 * 1024 * 1024
/** No command is waited for longer: a client may send it again and again, or a server be there and not answer. */
export const TIMEOUT_MS = 10_000
/** How often those under way are looked through, and how long one may wait for a connection that is lost. */
const LOOK_MS = 500

interface Pending {
  readonly since: number
  reject(error: Error): void
}

/** One connection for commands, and what waits for its answers: never more than a bound, never longer than a deadline. */
export class RedisLine {
  readonly #connection: RedisConnection
  readonly #clock: () => Clock
  readonly #silent: () => void
  /** Those that are waited for. The oldest come first. */
  readonly #pending = new Set<Pending>()
  #isLooking = false
  #wasReady = false
  /** What the client holds, whether it is still waited for or not. */
  #commands = 0
  #chars = 0
  #retire: (() => void) | undefined

  /** @param silent - told when a command got no answer in time, though the connection seems to be there. */
  constructor(connection: RedisConnection, clock: () => Clock, silent: () => void) {
    this.#connection = connection
    this.#clock = clock
    this.#silent = silent
  }

  /** Throws when a command could not be sent now. One that was never connected is given the time to. */
  check(): void {
    if (this.#isDown()) throw new Error('The connection to Redis is down.')
    if (this.#commands >= MAX_COMMANDS || this.#chars >= MAX_CHARS) {
      throw new Error('Redis does not answer, and too many commands wait for it.')
    }
  }

  async run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    this.check()
    const chars = args.reduce((sum, arg) => sum + arg.length, 0)
    this.#commands++
    this.#chars += chars
    return new Promise((resolve, reject) => {
      const pending = { since: this.#clock().now(), reject }
      this.#pending.add(pending)
      this.#lookLater()
      this.#run(script, keys, args)
        .then(resolve, reject)
        .finally(() => {
          this.#settle(pending)
          this.#commands--
          this.#chars -= chars
        })
    })
  }

  /** Calls `close` once nothing waits for an answer any more. */
  retire(close: () => void): void {
    this.#retire = close
    if (this.#pending.size === 0) close()
  }

  #isDown(): boolean {
    if (this.#connection.isReady()) this.#wasReady = true
    return this.#wasReady && !this.#connection.isReady()
  }

  #lookLater(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    const look = () => {
      this.#isLooking = false
      this.#rejectLate()
      if (this.#pending.size > 0) this.#lookLater()
    }
    this.#clock().setTimeout(look, LOOK_MS, false)
  }

  #rejectLate(): void {
    const now = this.#clock().now()
    const isDown = this.#isDown()
    for (const pending of this.#pending) {
      const ms = now - pending.since
      if (ms < (isDown ? LOOK_MS : TIMEOUT_MS)) return
      if (!isDown) this.#silent()
      const why = isDown ? 'The connection to Redis is down' : `Redis did not answer within ${TIMEOUT_MS} ms`
      pending.reject(new Error(`${why}: what was asked may be done or not.`))
      this.#settle(pending)
    }
  }

  #settle(pending: Pending): void {
    if (this.#pending.delete(pending) && this.#pending.size === 0) this.#retire?.()
  }

  async #run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const [key = ''] = keys
    const rest = [String(keys.length), ...keys, ...args]
    script.sha ??= String(await this.#connection.command(key, ['SCRIPT', 'LOAD', script.source]))
    try {
      return await this.#connection.command(key, ['EVALSHA', script.sha, ...rest])
    } catch (error) {
      // Restarted, flushed, or another server of a cluster: EVAL makes it known there.
      if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw error
      return this.#connection.command(key, ['EVAL', script.source, ...rest])
    }
  }
}
