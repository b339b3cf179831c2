import type { Clock } from '../protocol/clock.js'
import type { PostgresConnections } from './postgres-connections.js'
import type { PostgresPoolClient } from './postgres-pool.js'

const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5_000
/** So often it is asked whether the other end is still there: a connection that died without a word says nothing. */
const CHECK_MS = 30_000

export interface ListenerHooks {
  readonly clock: () => Clock
  notified(payload: string): void
  /** It listens anew: nobody knows what was said meanwhile. */
  resumed(): void
}

/** The one connection of this process that listens; lent by the pool while somebody watches. */
export class PostgresListener {
  readonly #connections: PostgresConnections
  readonly #channel: string
  readonly #hooks: ListenerHooks
  #wanted = false
  #listening: Promise<void> | undefined
  #client: PostgresPoolClient | undefined
  #leave: (() => void) | undefined
  /** Whether something may have been said while nobody listened. */
  #missed = false
  #retries = 0
  #cancelRetry: (() => void) | undefined

  constructor(connections: PostgresConnections, channel: string, hooks: ListenerHooks) {
    this.#connections = connections
    this.#channel = channel
    this.#hooks = hooks
  }

  /** Resolves when hints are certain to arrive. Rejects when the database cannot be reached now. */
  listen(): Promise<void> {
    this.#wanted = true
    if (this.#listening !== undefined) return this.#listening
    const listening = this.#connect()
    this.#listening = listening
    listening.catch(() => {
      if (this.#listening === listening) this.#listening = undefined
    })
    return listening
  }

  /** Gives the connection back. */
  rest(): void {
    this.#wanted = false
    this.#missed = false
    this.#stopRetrying()
    const [client, leave] = [this.#client, this.#leave]
    if (!client || !leave) return
    this.#client = undefined
    this.#listening = undefined
    leave()
    const ignore = () => {}
    client.on('error', ignore)
    const give = (destroy: boolean) => {
      client.off('error', ignore)
      client.release(destroy)
    }
    this.#connections.ask(client, { text: `UNLISTEN "${this.#channel}"` }).then(
      () => give(false),
      () => give(true),
    )
  }

  async #connect(): Promise<void> {
    const client = await this.#connections.lend()
    const notified = ({ channel, payload = '' }: { channel: string; payload?: string | undefined }) => {
      if (channel === this.#channel) this.#hooks.notified(payload)
    }
    const lost = () => this.#lost(client)
    let cancelCheck = () => {}
    client.on('notification', notified)
    client.on('error', lost)
    client.on('end', lost)
    const leave = () => {
      cancelCheck()
      client.off('notification', notified)
      client.off('error', lost)
      client.off('end', lost)
    }
    this.#client = client
    this.#leave = leave
    try {
      await this.#connections.ask(client, { text: `LISTEN "${this.#channel}"` })
    } catch (error) {
      this.#drop(client)
      throw error
    }
    if (this.#client !== client) throw new Error('The connection to the database was lost.')
    this.#stopRetrying()
    const checkLater = () => {
      cancelCheck = this.#hooks.clock().setTimeout(check, CHECK_MS, false)
    }
    const check = () => {
      const again = () => {
        if (this.#client === client) checkLater()
      }
      this.#connections.ask(client, { text: 'SELECT' }, this.#connections.lookMs).then(again, lost)
    }
    checkLater()
    if (!this.#wanted) this.rest()
    if (this.#missed) this.#hooks.resumed()
    this.#missed = false
  }

  #lost(client: PostgresPoolClient): void {
    if (!this.#drop(client)) return
    this.#listening = undefined
    this.#missed = true
    this.#retry()
  }

  #drop(client: PostgresPoolClient): boolean {
    if (this.#client !== client) return false
    this.#leave?.()
    this.#client = undefined
    this.#leave = undefined
    // Errors that still come are of a connection that is given up.
    client.on('error', () => {})
    client.release(true)
    return true
  }

  #retry(): void {
    if (!this.#wanted || this.#cancelRetry) return
    const ms = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#retries++) * (0.5 + Math.random() / 2)
    this.#cancelRetry = this.#hooks.clock().setTimeout(
      () => {
        this.#cancelRetry = undefined
        this.listen().catch(() => this.#retry())
      },
      ms,
      false,
    )
  }

  #stopRetrying(): void {
    this.#retries = 0
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
  }
}
