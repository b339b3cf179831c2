import { type Clock, nextTurn, systemClock } from '../protocol/clock.js'

/** How long a case waits for what must come. */
const PATIENCE_MS = 15_000
const STEP_MS = 10
/** What comes within so many turns of the event loop costs no time. */
const FREE_TURNS = 20

/** What a harness says of time. */
export interface Timed {
  /** The time that the harness runs on: a virtual clock, say, which `advance` then moves. Default: the system's. */
  readonly clock?: Clock | undefined
  /** Lets time pass. With the system's clock: waits, or whatever makes what is stored so much older. */
  advance?(ms: number): Promise<void>
}

/** Waiting for what must come, in the time of a harness. */
export class Waiting {
  readonly clock: Clock
  readonly #advance: (ms: number) => Promise<void>

  constructor(harness: Timed) {
    this.clock = harness.clock ?? systemClock
    const advance = harness.advance?.bind(harness)
    if (harness.clock && !advance) throw new TypeError('Expected a harness with a `clock` to have `advance`, too.')
    this.#advance = harness.clock && advance ? advance : (ms) => new Promise((go) => systemClock.setTimeout(go, ms))
  }

  /** Lets `ms` milliseconds pass. */
  pass(ms: number): Promise<void> {
    return this.#advance(ms)
  }

  /** A moment, never of the same length. */
  async moment(): Promise<void> {
    for (let turn = Math.floor(Math.random() * 4); turn > 0; turn--) await aTurn()
    if (this.clock === systemClock && Math.random() < 0.3) await this.pass(Math.random() * 4)
  }

  /** Waits until `holds`. Rejects with what was waited for when it does not come. */
  async until(holds: () => boolean, what: string, ms = PATIENCE_MS): Promise<void> {
    for (let turn = 0; turn < FREE_TURNS; turn++) {
      if (holds()) return
      await aTurn()
    }
    const until = this.clock.now() + ms
    while (!holds()) {
      if (this.clock.now() >= until) throw new Error(`Expected ${what} within ${ms} ms, and it did not come.`)
      await this.pass(STEP_MS)
    }
  }

  /** What `promise` comes to, in the same turn. Rejects when it comes to nothing. */
  settled<T>(promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
    let isSettled = false
    const settle = () => {
      isSettled = true
    }
    promise.then(settle, settle)
    return Promise.race([promise, this.until(() => isSettled, what, ms).then(() => promise)])
  }
}

function aTurn(): Promise<void> {
  return new Promise((resolve) => nextTurn(resolve))
}
