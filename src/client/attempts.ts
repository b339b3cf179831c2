import type { Ready } from '../protocol/control.js'
import { Attempt, type Context, type Owner } from './attempt.js'
import type { Outcome } from './outcome.js'
import type { Way } from './request.js'

/** The poll beside a stream that says nothing: to find out takes no longer than this. */
const TRIAL_S = 1
/** The longest a poll asks to wait: more than 25 seconds is beyond the patience of some proxies. */
const MOST_WAIT_S = 25
/** Streams that end so early, so often in a row, are worth a poll. */
const SHORT_STREAMS = 3
/** The first pause before what failed is tried again, and the longest, in connect deadlines. */
const FIRST_PAUSE = 3
const LONGEST_PAUSE = 60

/** Whose attempts they are. */
export interface Asking extends Context {
  /** An attempt was answered by a stream, and stays. */
  opened(way: Way, connection: string | null): void
}

/**
 * The attempts of one client: which way the next one asks, and which of two that are under way stays. A client polls
 * once a poll has brought what a stream did not, and tries streaming beside its polls, less and less often.
 */
export class Attempts implements Owner {
  readonly context: Asking
  #main: Attempt | undefined
  /** A poll beside a stream that says nothing, or a probe beside the polls. */
  #beside: Attempt | undefined
  #mayPoll: boolean
  /** How the next one asks; `trial` is a poll to find out whether it brings more than a stream. */
  #way: 'stream' | 'trial' | 'poll' = 'stream'
  #shortStreams = 0
  #waitS = MOST_WAIT_S
  #pauseMs = 0
  /** When polls are worth a try again, or, while polling, streaming is. */
  #tryAt = 0

  constructor(asking: Asking) {
    this.context = asking
    this.#mayPoll = asking.settings.mayPoll
  }

  get streams(): boolean {
    return this.#way === 'stream'
  }

  /** Makes the next one. Resolves when it, or the one that overtook it, is over. */
  async next(): Promise<{ attempt: Attempt; outcome: Outcome }> {
    if (this.#way === 'poll' && this.#isTime() && !this.#beside) this.#begin('probe')
    let attempt = new Attempt(this, this.streams ? 'stream' : 'poll', this.#way === 'poll' ? this.#waitS : TRIAL_S)
    this.#main = attempt
    let outcome = await attempt.outcome
    while (this.#main !== attempt) {
      attempt = this.#main
      outcome = await attempt.outcome
    }
    if (this.#beside?.way === 'poll') this.#drop()
    return {
      attempt,
      outcome: attempt.way === 'poll' ? this.#ofPoll(outcome, attempt) : this.#ofStream(outcome, attempt),
    }
  }

  /** One was answered by a stream. It stays, unless it is a probe; the other one, then, does not. */
  opened(attempt: Attempt, { resumed, connection }: Partial<Ready>): void {
    if (resumed === undefined) {
      // No hub, and so it knows no polls.
      this.#mayPoll = false
      this.#way = 'stream'
    }
    if (attempt.way === 'probe') {
      attempt.end({ is: 'again' })
      return
    }
    const other = attempt === this.#beside ? this.#main : this.#beside
    this.#main = attempt
    if (other?.way !== 'probe') {
      this.#beside = undefined
      other?.end({ is: 'again' })
    }
    this.context.opened(attempt.way, connection ?? null)
  }

  /** The stream has a head, and says nothing. */
  quiet(): void {
    if (this.#mayTry()) this.#begin('poll')
  }

  /** Ends what is under way. */
  end(outcome: Outcome): void {
    this.#drop()
    this.#main?.end(outcome)
  }

  #begin(way: 'poll' | 'probe'): void {
    const beside = new Attempt(this, way, TRIAL_S)
    this.#beside = beside
    void beside.outcome.then((outcome) => {
      if (this.#beside !== beside) return
      this.#beside = undefined
      const isAgain = outcome.is === 'again'
      if (way === 'probe') this.#probed(isAgain)
      else if (isAgain) this.#begin(way)
      else this.#pollFailed()
    })
  }

  #probed(works: boolean): void {
    if (works) {
      this.#way = 'stream'
      this.#shortStreams = 0
      this.#tryAt = 0
      // What the poll has received, it has handed over. The stream goes on from there.
      this.#main?.end({ is: 'again' })
    } else this.#pause()
  }

  #drop(): void {
    const beside = this.#beside
    this.#beside = undefined
    beside?.end({ is: 'again' })
  }

  #ofPoll(outcome: Outcome, attempt: Attempt): Outcome {
    const isTrial = this.#way !== 'poll'
    switch (outcome.is) {
      case 'polled':
        if (attempt.full) {
          if (isTrial) this.#pause()
          this.#way = 'poll'
          this.#waitS = Math.min(MOST_WAIT_S, this.#waitS * 2)
          return outcome
        }
        this.#pollFailed()
        return { is: 'lost', reason: 'the poll was answered too early, with nothing' }
      case 'lost':
        this.#pollFailed()
        return outcome
      case 'retry':
      case 'terminal':
        this.#pollFailed()
        // What refuses a poll may still be streaming.
        return isTrial ? { is: 'lost', reason: outcome.reason } : outcome
      default:
        return outcome
    }
  }

  #ofStream(outcome: Outcome, attempt: Attempt): Outcome {
    if (attempt.established) {
      this.#shortStreams = 0
      this.#pauseMs = 0
    } else if (outcome.is === 'lost' && !outcome.said) {
      const isHeld = attempt.headed ? ++this.#shortStreams >= SHORT_STREAMS : outcome.silent
      if (isHeld && this.#mayTry()) {
        this.#way = 'trial'
        if (outcome.silent) return { is: 'again' }
      }
    }
    return outcome
  }

  /** A poll brought nothing, or broke off: the next one waits less, in case that was too long for a proxy. */
  #pollFailed(): void {
    if (this.#way !== 'poll') {
      this.#way = 'stream'
      this.#pause()
    }
    this.#shortStreams = 0
    this.#waitS = Math.max(TRIAL_S, Math.floor(this.#waitS / 2))
  }

  /** Whether it is time to see what a poll brings. */
  #mayTry(): boolean {
    return this.#mayPoll && this.#way !== 'poll' && this.#isTime()
  }

  #isTime(): boolean {
    return this.context.settings.clock.now() >= this.#tryAt
  }

  /** Each pause is twice the one before, with a quarter of jitter. */
  #pause(): void {
    const { clock, connectTimeoutMs } = this.context.settings
    const pauseMs = this.#pauseMs || FIRST_PAUSE * connectTimeoutMs
    this.#tryAt = clock.now() + pauseMs * (1 + 0.25 * Math.random())
    this.#pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE * connectTimeoutMs)
  }
}
