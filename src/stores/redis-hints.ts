import type { Clock } from '../protocol/clock.js'
import type { Hint } from '../protocol/store.js'
import type { Listener, RedisListening } from './redis-connection.js'
import { RedisSubscriber } from './redis-subscriber.js'

/** A connection that nobody needs is kept for so long: readers come and go. */
const LINGER_MS = 5_000
/** A connection that ended is opened again after so long. */
const REOPEN_MS = 1_000

interface Watched {
  readonly hints: Set<Hint>
  /** Settles when the server has confirmed the subscription, or has not. */
  readonly confirmed: Promise<void>
}

/** The hints of all streams that this process watches, on one connection that is open only while there are any. */
export class RedisHints implements Listener {
  readonly #listen: (to: Listener) => RedisListening
  readonly #clock: () => Clock
  readonly #watched = new Map<string, Watched>()
  /** Subscriptions that are being ended: a new one to the same channel comes after. */
  readonly #leaving = new Map<string, Promise<unknown>>()
  #subscriber: RedisSubscriber | undefined
  #cancelLinger: (() => void) | undefined
  #cancelReopen: (() => void) | undefined

  constructor(listen: (to: Listener) => RedisListening, clock: () => Clock) {
    this.#listen = listen
    this.#clock = clock
  }

  async watch(channel: string, hint: Hint): Promise<() => void> {
    let watched = this.#watched.get(channel)
    if (!watched) {
      watched = { hints: new Set(), confirmed: this.#subscribe(channel) }
      this.#watched.set(channel, watched)
    }
    const { hints, confirmed } = watched
    // One function may watch twice.
    const own: Hint = (to) => hint(to)
    hints.add(own)
    const unwatch = () => {
      if (hints.delete(own) && hints.size === 0 && this.#watched.get(channel)?.hints === hints) this.#forget(channel)
    }
    try {
      await confirmed
    } catch (error) {
      unwatch()
      throw error
    }
    return unwatch
  }

  message(channel: string, message: string): void {
    const [epoch, head] = message.split(' ')
    const to = epoch && head ? { epoch, head: Number(head) } : undefined
    for (const hint of this.#watched.get(channel)?.hints ?? []) hint(to)
  }

  restored(): void {
    for (const { hints } of this.#watched.values()) for (const hint of hints) hint(undefined)
  }

  ended(): void {
    this.#drop()
    this.#cancelReopen?.()
    this.#cancelReopen = this.#later(REOPEN_MS, () => void this.#reopen())
  }

  /** Ends the connection at once. */
  close(): void {
    this.#cancelLinger?.()
    this.#cancelReopen?.()
    this.#drop()
  }

  #drop(): void {
    const subscriber = this.#subscriber
    this.#subscriber = undefined
    subscriber?.close()
  }

  async #subscribe(channel: string): Promise<void> {
    await this.#leaving.get(channel)
    await this.#open().subscribe(channel)
  }

  #open(): RedisSubscriber {
    this.#cancelLinger?.()
    if (this.#subscriber) return this.#subscriber
    const ended = () => {
      if (this.#subscriber === subscriber) this.ended()
    }
    const listening = this.#listen({
      message: (channel, message) => this.message(channel, message),
      restored: () => this.restored(),
      ended,
    })
    const subscriber = new RedisSubscriber(listening, this.#clock(), ended)
    this.#subscriber = subscriber
    subscriber.opened.catch(ended)
    return subscriber
  }

  #forget(channel: string): void {
    this.#watched.delete(channel)
    const leave = async () => this.#subscriber?.unsubscribe(channel)
    const left = leave()
      .catch(() => {})
      .finally(() => {
        if (this.#leaving.get(channel) === left) this.#leaving.delete(channel)
      })
    this.#leaving.set(channel, left)
    if (this.#watched.size > 0) return
    this.#cancelLinger?.()
    this.#cancelLinger = this.#later(LINGER_MS, () => this.close())
  }

  /** Those who watch are served by the poll meanwhile. */
  async #reopen(): Promise<void> {
    if (this.#watched.size === 0) return
    try {
      const subscriber = this.#open()
      await Promise.all([...this.#watched.keys()].map((channel) => subscriber.subscribe(channel)))
      this.restored()
    } catch {
      this.ended()
    }
  }

  #later(ms: number, run: () => void): () => void {
    return this.#clock().setTimeout(run, ms, false)
  }
}
