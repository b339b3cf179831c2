/** What a query answers with, of all that `pg` says. */
export interface PostgresResult {
  readonly rows: unknown[]
  readonly rowCount: number | null
  readonly command: string
}

/** A query in the form that `pg` takes. */
export interface PostgresQuery {
  text: string
  values?: unknown[]
}

/** A client of `pg`, by what is called of it. As `transaction`, one inside a transaction of yours. */
export interface PostgresClient {
  /** Runs a statement. */
  query(query: PostgresQuery): Promise<PostgresResult>
}

/** A client that a pool has lent. */
export interface PostgresPoolClient extends PostgresClient {
  /** Gives it back to the pool, or ends it. */
  release(destroy?: boolean): void
  /** Told of what is notified on channels that it listens to. */
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown
  /** Told when the connection breaks. */
  on(event: 'error', listener: (error: Error) => void): unknown
  /** Told when the connection has ended. */
  on(event: 'end', listener: () => void): unknown
  /** The reverse of `on`. */
  off(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown
  /** The reverse of `on`. */
  off(event: 'error', listener: (error: Error) => void): unknown
  /** The reverse of `on`. */
  off(event: 'end', listener: () => void): unknown
}

/** A `Pool` of `pg`, by what is called of it. */
export interface PostgresPool extends PostgresClient {
  /** Lends a client. */
  connect(): Promise<PostgresPoolClient>
}

/** The five letters of PostgreSQL that say what went wrong; `undefined` when it did not come to that. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  const { code } = error
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/**
 * Runs `work` in a transaction of its own, and commits it if `keeps` what came of it.
 *
 * @param begin - how it begins, as in SQL.
 */
export async function inTransaction<T>(
  pool: PostgresPool,
  begin: string,
  work: (client: PostgresClient) => Promise<T>,
  keeps: (result: T) => boolean = () => true,
): Promise<T> {
  const client = await pool.connect()
  let isBroken = false
  // A client that is lent and breaks would end the process if nobody listened.
  const broke = () => {
    isBroken = true
  }
  client.on('error', broke)
  try {
    await client.query({ text: begin })
    const result = await work(client)
    if (!keeps(result)) {
      await client.query({ text: 'ROLLBACK' })
      return result
    }
    const { command } = await client.query({ text: 'COMMIT' })
    if (command === 'COMMIT') return result
    throw new Error('The transaction was rolled back: one of its statements failed, and the error was swallowed.')
  } catch (error) {
    await client.query({ text: 'ROLLBACK' }).catch(broke)
    throw error
  } finally {
    client.off('error', broke)
    client.release(isBroken)
  }
}
