import type { Clock } from '../protocol/clock.js'
import type { RedisPort } from './redis-connection.js'

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
const TIMEOUT_MS = 10_000
/** How often those under way are looked through, and how long one may wait for a connection that is lost. */
const LOOK_MS = 500

interface Pending {
  readonly since: number
  reject(error: Error): void
}

/** Runs scripts: by their names where Redis knows them, and not at all where they would only pile up. */
export class RedisCommands {
  readonly #port: RedisPort
  readonly #clock: () => Clock
  /** Those that are waited for. The oldest come first. */
  readonly #pending = new Set<Pending>()
  #isLooking = false
  #wasReady = false
  /** What the client holds, whether it is still waited for or not. */
  #commands = 0
  #chars = 0

  constructor(port: RedisPort, clock: () => Clock) {
    this.#port = port
    this.#clock = clock
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
          this.#pending.delete(pending)
          this.#commands--
          this.#chars -= chars
        })
    })
  }

  #isDown(): boolean {
    if (this.#port.ready) this.#wasReady = true
    return this.#wasReady && !this.#port.ready
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
      this.#pending.delete(pending)
      const why = isDown ? 'The connection to Redis is down' : `Redis did not answer within ${TIMEOUT_MS} ms`
      pending.reject(new Error(`${why}: what was asked may be done or not.`))
    }
  }

  async #run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const [key = ''] = keys
    const rest = [String(keys.length), ...keys, ...args]
    script.sha ??= String(await this.#port.command(key, ['SCRIPT', 'LOAD', script.source]))
    try {
      return await this.#port.command(key, ['EVALSHA', script.sha, ...rest])
    } catch (error) {
      // Restarted, flushed, or another server of a cluster: EVAL makes it known there.
      if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw error
      return this.#port.command(key, ['EVAL', script.source, ...rest])
    }
  }
}

/** An answer of a script: a list of texts, or nothing. */
export function texts(answer: unknown): string[] | null {
  return Array.isArray(answer) ? answer.map((each) => String(each ?? '')) : null
}
