import type { Clock } from '../protocol/clock.js'
import type { RedisConnection, RedisDuplicate, RedisPort } from './redis-connection.js'
import { RedisLine, type RedisScript, TIMEOUT_MS } from './redis-line.js'

interface Own {
  readonly line: RedisLine
  readonly connection: RedisDuplicate
}

/**
 * Runs scripts on the client that was given, or on a duplicate once that one no longer answers: a path may swallow what
 * a connection sends and let a new one through, and the client is not ours to connect anew.
 */
export class RedisCommands {
  readonly #port: RedisPort
  readonly #clock: () => Clock
  readonly #given: RedisLine
  #own: Own | undefined
  /** A duplicate that is being connected. */
  #coming: Own | undefined
  #endsWithGiven = false

  constructor(port: RedisPort, clock: () => Clock) {
    this.#port = port
    this.#clock = clock
    this.#given = this.#lineOf(port)
  }

  /** What is sent now goes here. Other nodes of a cluster may still answer: there, a duplicate must be connected first. */
  get #line(): RedisLine {
    const coming = this.#port.cluster ? undefined : this.#coming
    return (coming ?? this.#own)?.line ?? this.#given
  }

  /** Throws when a command could not be sent now. */
  check(): void {
    this.#line.check()
  }

  run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    return this.#line.run(script, keys, args)
  }

  /** Ends what is not the client that was given. That one is used again. */
  close(): void {
    this.#coming?.connection.close()
    this.#coming = undefined
    this.#takeOver(undefined)
  }

  #lineOf(connection: RedisConnection): RedisLine {
    const line = new RedisLine(connection, this.#clock, () => {
      if (line === this.#line) this.#renew()
    })
    return line
  }

  #renew(): void {
    if (this.#coming) return
    if (!this.#endsWithGiven) {
      this.#endsWithGiven = true
      this.#port.onEnd(() => this.close())
    }
    const connection = this.#port.duplicate(() => {
      if (this.#own === coming) this.#takeOver(undefined)
    })
    const line = this.#lineOf({
      isReady: () => connection.isReady(),
      command: async (key, args) => {
        await connection.opened
        return connection.command(key, args)
      },
    })
    const coming: Own = { line, connection }
    this.#coming = coming
    const end = (next: Own | undefined) => {
      if (this.#coming !== coming) return
      this.#coming = undefined
      if (next) this.#takeOver(next)
      else connection.close()
    }
    const cancel = this.#clock().setTimeout(() => end(undefined), TIMEOUT_MS, false)
    connection.opened
      .then(
        () => end(coming),
        () => end(undefined),
      )
      .finally(cancel)
  }

  #takeOver(next: Own | undefined): void {
    const before = this.#own
    this.#own = next
    before?.line.retire(() => before.connection.close())
  }
}

/** An answer of a script: a list of texts, or nothing. */
export function texts(answer: unknown): string[] | null {
  return Array.isArray(answer) ? answer.map((each) => String(each ?? '')) : null
}
