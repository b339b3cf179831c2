import type { Clock } from '../protocol/clock.js'
import { NoAnswer, PostgresDeadlines } from './postgres-deadlines.js'
import {
  type PostgresClient,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresQuery,
  type PostgresResult,
  sqlState,
} from './postgres-pool.js'

/** What nobody waits for, a look or a hint, is given up sooner. */
const LOOK_MS = 5_000

/** Runs a statement, by a deadline. */
export type RunStatement = (query: PostgresQuery) => Promise<PostgresResult>

/**
 * The pool, with a deadline for every statement. A connection that does not answer is destroyed, and so are those that
 * have not answered since: a network that swallows the one has most likely swallowed them all.
 */
export class PostgresConnections implements PostgresClient {
  readonly #pool: PostgresPool
  readonly #clock: () => Clock
  readonly #deadlines: PostgresDeadlines
  readonly #answeredAt = new WeakMap<PostgresPoolClient, number>()
  #suspectBefore = Number.NEGATIVE_INFINITY
  /** How long a statement may take. */
  readonly timeoutMs: number
  /** How long one may take that nobody waits for. */
  readonly lookMs: number

  constructor(pool: PostgresPool, clock: () => Clock, timeoutMs: number) {
    this.#pool = pool
    this.#clock = clock
    this.#deadlines = new PostgresDeadlines(clock)
    this.timeoutMs = timeoutMs
    this.lookMs = Math.min(LOOK_MS, timeoutMs)
  }

  async query(query: PostgresQuery, ms = this.timeoutMs): Promise<PostgresResult> {
    const client = await this.lend(ms)
    let isBroken = false
    client.on('error', ignore)
    try {
      return await this.ask(client, query, ms)
    } catch (error) {
      isBroken = isOfTheConnection(error)
      throw error
    } finally {
      client.off('error', ignore)
      client.release(isBroken)
    }
  }

  /** A client of the pool. Whoever takes it must listen to its errors, and release it. */
  async lend(ms = this.timeoutMs): Promise<PostgresPoolClient> {
    for (;;) {
      const client = await this.#connect(ms)
      const answeredAt = this.#answeredAt.get(client)
      if (answeredAt === undefined || answeredAt >= this.#suspectBefore) return client
      // With a query under way `pg` destroys the socket, and does not wait for a goodbye that never comes.
      client.on('error', ignore)
      client.query({ text: 'SELECT' }).catch(ignore)
      client.release(true)
    }
  }

  /** Asks on a client that was lent. Rejects with `NoAnswer` when it is late; the client must be destroyed then. */
  async ask(client: PostgresPoolClient, query: PostgresQuery, ms = this.timeoutMs): Promise<PostgresResult> {
    const sentAt = this.#clock().now()
    const result = await this.#deadlines.within(client.query(query), ms, () => {
      this.#suspectBefore = Math.max(this.#suspectBefore, sentAt)
      return new NoAnswer(`The database did not answer within ${ms} ms.`)
    })
    this.#answeredAt.set(client, this.#clock().now())
    return result
  }

  /**
   * Runs `work` in a transaction of its own, and commits it if `keeps` what came of it.
   *
   * @param begin - how it begins, as in SQL.
   */
  async transaction<T>(
    begin: string,
    work: (client: PostgresClient, run: RunStatement) => Promise<T>,
    keeps: (result: T) => boolean = () => true,
  ): Promise<T> {
    const client = await this.lend()
    let isBroken = false
    // A client that is lent and breaks would end the process if nobody listened.
    const broke = () => {
      isBroken = true
    }
    client.on('error', broke)
    const run: RunStatement = async (query) => {
      try {
        return await this.ask(client, query)
      } catch (error) {
        isBroken ||= isOfTheConnection(error)
        throw error
      }
    }
    try {
      await run({ text: begin })
      const result = await work(client, run)
      if (!keeps(result)) {
        await run({ text: 'ROLLBACK' })
        return result
      }
      const { command } = await run({ text: 'COMMIT' })
      if (command === 'COMMIT') return result
      throw new Error('The transaction was rolled back: one of its statements failed, and the error was swallowed.')
    } catch (error) {
      if (!isBroken) await run({ text: 'ROLLBACK' }).catch(broke)
      throw error
    } finally {
      client.off('error', broke)
      client.release(isBroken)
    }
  }

  #connect(ms: number): Promise<PostgresPoolClient> {
    let isLate = false
    const connecting = this.#pool.connect()
    connecting.then((client) => {
      if (isLate) client.release()
    }, ignore)
    return this.#deadlines.within(connecting, ms, () => {
      isLate = true
      return new Error(`The pool had no connection to lend within ${ms} ms.`)
    })
  }
}

function ignore(): void {}

/** Whether the connection is done for, as against a statement that was refused. */
function isOfTheConnection(error: unknown): boolean {
  return /^(08|57P|25P03)/.test(sqlState(error) ?? '08')
}
