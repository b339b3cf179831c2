import type { Clock } from '../protocol/clock.js'
import type { RedisListening } from './redis-connection.js'

/** How often the connection is tried, and how long an answer may take. */
const TRY_MS = 5_000

/** A connection for subscriptions that is given up when it no longer answers: it may be there and carry nothing. */
export class RedisSubscriber {
  readonly #listening: RedisListening
  readonly #clock: Clock
  readonly #silent: () => void
  /** Those subscribed to, confirmed or not. The one that was tried last is the last. */
  readonly #channels = new Set<string>()
  #lastAsked: string | undefined
  readonly #givenUp: Promise<never>
  #giveUp = (_error: Error) => {}
  #cancelTry = () => {}
  #isWaiting = true

  /** @param silent - told once, when it was given up. */
  constructor(listening: RedisListening, clock: Clock, silent: () => void) {
    this.#listening = listening
    this.#clock = clock
    this.#silent = silent
    this.#givenUp = new Promise((_resolve, reject) => {
      this.#giveUp = reject
    })
    this.#givenUp.catch(() => {})
    this.#wait(listening.opened)
    this.#tryLater()
  }

  get opened(): Promise<void> {
    return this.#orGivenUp(this.#listening.opened)
  }

  async subscribe(channel: string): Promise<void> {
    // First: one that is never confirmed must be noticed.
    this.#channels.add(channel)
    this.#lastAsked = channel
    await this.opened
    await this.#orGivenUp(this.#listening.subscribe(channel))
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#channels.delete(channel)
    await this.opened
    await this.#orGivenUp(this.#listening.unsubscribe(channel))
  }

  close(): void {
    this.#cancelTry()
    this.#giveUp(new Error('The connection for subscriptions is closed.'))
    this.#listening.close()
  }

  #orGivenUp<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#givenUp])
  }

  #tryLater(): void {
    this.#cancelTry = this.#clock.setTimeout(() => this.#try(), TRY_MS, false)
  }

  #try(): void {
    if (this.#isWaiting) {
      this.#giveUp(new Error(`Redis did not answer on the connection for subscriptions within ${TRY_MS} ms.`))
      this.close()
      this.#silent()
      return
    }
    this.#tryLater()
    const [channel = this.#lastAsked] = this.#channels
    if (channel === undefined) return
    // In turns: on a cluster each shard has a connection of its own, and a channel of the same slot takes the same one.
    if (this.#channels.delete(channel)) this.#channels.add(channel)
    this.#wait(this.#subscribeBriefly(`${channel}:?`))
  }

  /** Not every client can ping while it is subscribed; both can subscribe. */
  async #subscribeBriefly(channel: string): Promise<void> {
    await this.#listening.subscribe(channel)
    await this.#listening.unsubscribe(channel)
  }

  #wait(answer: Promise<void>): void {
    this.#isWaiting = true
    const isAnswered = () => {
      this.#isWaiting = false
    }
    // A refusal is an answer, too.
    answer.then(isAnswered, isAnswered)
  }
}
