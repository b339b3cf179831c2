import type { Clock } from '../protocol/clock.js'

/** Streams that end so early, so often in a row, are worth a poll. */
const SHORT_STREAMS = 3
/** The longest a poll asks to wait: more than 25 seconds is beyond the patience of some proxies. */
const MOST_WAIT_S = 25
const LEAST_WAIT_S = 1
/** The first pause before streaming is tried again, and the longest, in connect deadlines. */
const FIRST_PAUSE = 3
const LONGEST_PAUSE = 60

/**
 * When to poll and when to stream: what is remembered of both, and no action. A client polls once a poll has
 * brought what a stream did not, and tries streaming beside its polls, less and less often.
 */
export class Fallback {
  #allowed: boolean
  readonly #clock: Clock
  readonly #connectTimeoutMs: number
  #polling = false
  #wanted = false
  #shortStreams = 0
  #waitS = MOST_WAIT_S
  #pauseMs: number
  /** When polls are worth a try again, or, while polling, streaming is. */
  #tryAt = Number.NEGATIVE_INFINITY

  constructor(allowed: boolean, clock: Clock, connectTimeoutMs: number) {
    this.#allowed = allowed
    this.#clock = clock
    this.#connectTimeoutMs = connectTimeoutMs
    this.#pauseMs = FIRST_PAUSE * connectTimeoutMs
  }

  /** Whether polls were found to bring what streams do not. */
  get polling(): boolean {
    return this.#polling
  }

  /** How long the next attempt shall wait for something, in seconds, if it is to be a poll. */
  get pollS(): number | undefined {
    if (this.#polling) return this.#waitS
    return this.#wanted ? LEAST_WAIT_S : undefined
  }

  /** Whether a stream that says nothing may be asked for by a poll. */
  get mayPoll(): boolean {
    return this.#allowed && !this.#polling && this.#clock.now() >= this.#tryAt
  }

  /** Whether, while polling, it is time to see what a stream does. */
  get mayStream(): boolean {
    return this.#polling && this.#clock.now() >= this.#tryAt
  }

  /** The server was found to know no polls. */
  forbid(): void {
    this.#allowed = false
    this.#polling = false
    this.#wanted = false
  }

  /** No head of a stream came, or it broke off at once: `true` when a poll shall be next. */
  streamFailed(how: 'silent' | 'short'): boolean {
    if (how === 'short') this.#shortStreams++
    this.#wanted = this.mayPoll && (how === 'silent' || this.#shortStreams >= SHORT_STREAMS)
    return this.#wanted
  }

  /** A stream was up for a while, or brought something. */
  streamed(): void {
    this.#shortStreams = 0
    this.#wanted = false
    this.#pauseMs = FIRST_PAUSE * this.#connectTimeoutMs
  }

  /** A poll was answered in full. */
  polled(): void {
    if (!this.#polling) this.#pause()
    this.#polling = true
    this.#wanted = false
    this.#waitS = Math.min(MOST_WAIT_S, this.#waitS * 2)
  }

  /** A poll brought nothing, or broke off: the next one waits less, in case that was too long for a proxy. */
  pollFailed(): void {
    if (!this.#polling) this.#pause()
    this.#wanted = false
    this.#shortStreams = 0
    this.#waitS = Math.max(LEAST_WAIT_S, Math.floor(this.#waitS / 2))
  }

  /** Streaming was tried beside the polls. */
  probed(works: boolean): void {
    if (works) {
      this.#polling = false
      this.#shortStreams = 0
      this.#tryAt = Number.NEGATIVE_INFINITY
    } else this.#pause()
  }

  /** Each pause is twice the one before, with a quarter of jitter. */
  #pause(): void {
    this.#tryAt = this.#clock.now() + this.#pauseMs * (1 + 0.25 * Math.random())
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE * this.#connectTimeoutMs)
  }
}
