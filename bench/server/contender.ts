/** What the server process can measure of one library, or of Node alone. */
export interface Contender {
  /** Resolves with the port. */
  listen(): Promise<number>
  /** How many responses are open and would get an event. */
  connections(): number
  /** Writes an event for each to the one connection, as fast as it takes them. */
  flat?(data: readonly string[]): Promise<void>
  /** Hands one event to all connections. */
  send?(data: string, n: number): unknown
  /** Hands several events to all connections in one tick, as this library is meant to. Default: `send` for each. */
  burst?(data: readonly string[], first: number): unknown
  /** Puts what a library has on record, for those who come later. */
  record?(data: readonly string[]): unknown
  /** What else there is to tell. */
  facts?(): Record<string, number>
  /** Cuts all connections, is away for a while, and comes back on the same port, with events from 1 that were missed. */
  restart?(awayMs: number, missed: number): Promise<void>
}

export interface ServerOptions {
  /** How often an idle connection is written to, in milliseconds; `undefined`: the library's default, 0: never. */
  readonly heartbeatMs?: number | undefined
  /** How many events a returning client may be behind. */
  readonly replay?: number | undefined
}

export type MakeContender = (options: ServerOptions) => Contender | Promise<Contender>
