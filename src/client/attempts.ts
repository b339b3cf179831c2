import { Attempt, type Context } from './attempt.js'
import { Fallback } from './fallback.js'
import type { Outcome } from './outcome.js'
import type { Way } from './request.js'

/** The poll beside a stream that says nothing: to find out takes no longer than this. */
const TRIAL_S = 1

/** The attempts of one client: which way the next one asks, and which of two that are under way stays. */
export class Attempts {
  readonly #context: Context
  readonly #fallback: Fallback
  #main: Attempt | undefined
  /** A poll beside a stream that says nothing, or a probe beside the polls. */
  #beside: Attempt | undefined

  constructor(context: Context) {
    const { fallback, clock, connectTimeoutMs } = context.settings
    this.#context = context
    this.#fallback = new Fallback(fallback === 'poll', clock, connectTimeoutMs)
  }

  /** How the next one asks. */
  get way(): Way {
    return this.#fallback.pollS === undefined ? 'stream' : 'poll'
  }

  /** Makes the next one. Resolves when it, or the one that overtook it, is over. */
  async next(): Promise<{ attempt: Attempt; outcome: Outcome }> {
    if (this.#fallback.mayStream && !this.#beside) this.#begin('probe')
    let attempt = new Attempt(this.#context, this.way, this.#fallback.pollS)
    this.#main = attempt
    let outcome = await attempt.outcome
    while (this.#main !== attempt) {
      attempt = this.#main
      outcome = await attempt.outcome
    }
    this.#main = undefined
    if (this.#beside?.way === 'poll') this.#drop()
    return {
      attempt,
      outcome: attempt.way === 'poll' ? this.#ofPoll(outcome, attempt) : this.#ofStream(outcome, attempt),
    }
  }

  /** One was answered by a stream. Returns whether it stays; the other one, then, does not. */
  answered(attempt: Attempt): boolean {
    if (attempt.way === 'probe') {
      attempt.end({ is: 'again' })
      return false
    }
    const overtaken = this.#main === attempt ? undefined : this.#main
    this.#main = attempt
    if (attempt === this.#beside) this.#beside = undefined
    else if (this.#beside?.way === 'poll') this.#drop()
    overtaken?.end({ is: 'again' })
    return true
  }

  /** The stream has a head, and says nothing. */
  quiet(): void {
    if (this.#fallback.mayPoll) this.#begin('poll', TRIAL_S)
  }

  knowsNoPolls(): void {
    this.#fallback.forbid()
  }

  /** Ends what is under way. */
  end(outcome: Outcome): void {
    this.#drop()
    this.#main?.end(outcome)
  }

  #begin(way: 'poll' | 'probe', pollS?: number): void {
    const beside = new Attempt(this.#context, way, pollS)
    this.#beside = beside
    void beside.outcome.then((outcome) => {
      if (this.#beside !== beside) return
      this.#beside = undefined
      const isStripped = outcome.is === 'stripped'
      if (isStripped) this.#context.progress.byQuery = true
      if (way === 'probe') this.#probed(isStripped || outcome.is === 'again')
      else if (isStripped) this.#begin(way, pollS)
      else this.#fallback.pollFailed()
    })
  }

  #probed(works: boolean): void {
    this.#fallback.probed(works)
    // What the poll has received, it has handed over. The stream goes on from there.
    if (works) this.#main?.end({ is: 'again' })
  }

  #drop(): void {
    const beside = this.#beside
    this.#beside = undefined
    beside?.end({ is: 'again' })
  }

  #ofPoll(outcome: Outcome, attempt: Attempt): Outcome {
    if (outcome.is === 'polled' && attempt.full) {
      this.#fallback.polled()
      return outcome
    }
    const isTrial = !this.#fallback.polling
    if (outcome.is === 'polled' || outcome.is === 'lost' || outcome.is === 'refused') this.#fallback.pollFailed()
    if (outcome.is === 'polled') return { is: 'lost', reason: 'the poll was answered too early, with nothing' }
    // What refuses a poll may still be streaming.
    return isTrial && outcome.is === 'refused' ? { is: 'lost', reason: outcome.reason } : outcome
  }

  #ofStream(outcome: Outcome, attempt: Attempt): Outcome {
    if (attempt.established) this.#fallback.streamed()
    else if (outcome.is === 'lost' && !outcome.said) {
      if (outcome.silent && this.#fallback.streamFailed('silent')) return { is: 'again' }
      if (attempt.headed) this.#fallback.streamFailed('short')
    }
    return outcome
  }
}
