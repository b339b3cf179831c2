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
  /** `max` tells how many clients there are to share. */
  readonly options?: { readonly max?: number | undefined } | undefined
}

/** The five letters of PostgreSQL that say what went wrong; `undefined` when it did not come to that. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  const { code } = error
  // Of the codes of Node, `EPIPE` is as long; those of PostgreSQL have a digit.
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined
}
