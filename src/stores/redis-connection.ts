/** A connection for commands. */
export interface RedisConnection {
  /** Whether commands reach the server now, as far as the client knows. */
  isReady(): boolean
  /** Sends a command to the server of `key`. */
  command(key: string, args: readonly string[]): Promise<unknown>
}

/** A connection of our own, for commands. */
export interface RedisDuplicate extends RedisConnection {
  /** Resolves when it is connected. */
  readonly opened: Promise<void>
  close(): void
}

/** What the store asks of a Redis client, whichever it is. */
export interface RedisPort extends RedisConnection {
  /** Whether it is a cluster: hints then stay in the shard of their stream. */
  readonly cluster: boolean
  /** Opens another connection for commands. @param ended - told when it is lost for ever. */
  duplicate(ended: () => void): RedisDuplicate
  /** Opens a connection for subscriptions. */
  listen(to: Listener): RedisListening
  /** Calls `run` each time that the client is closed. */
  onEnd(run: () => void): void
}

/** Told what a connection for subscriptions hears. */
export interface Listener {
  message(channel: string, message: string): void
  /** The connection was lost and is back, with all subscriptions confirmed: messages may be missing. */
  restored(): void
  /** The connection is lost for ever. */
  ended(): void
}

/** A connection for subscriptions. */
export interface RedisListening {
  /** Resolves when it is connected: not before may anything be subscribed to. */
  readonly opened: Promise<void>
  /** Resolves when the server has confirmed it. */
  subscribe(channel: string): Promise<void>
  unsubscribe(channel: string): Promise<void>
  close(): void
}

/** Whether an error says that a server is too old to know a command. */
export function isUnknownCommand(error: unknown): boolean {
  return error instanceof Error && /unknown command/i.test(error.message)
}
