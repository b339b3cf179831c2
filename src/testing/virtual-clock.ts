import { type Clock, nextTurn } from '../protocol/clock.js'

/** A clock that a test moves by hand. */
export interface VirtualClock extends Clock {
  /**
   * Lets `ms` milliseconds pass: fires each timer at its time, one after the other, and gives all that
   * a timer sets going a turn of the event loop before the next one fires.
   */
  advance(ms: number): Promise<void>
  /** Stops all timers, as a suspended process does: time goes on, and nothing fires until `thaw`. */
  freeze(): void
  /** Ends a freeze: what fell due meanwhile fires, late, at the next `advance`. */
  thaw(): void
  /** Moves the time by `ms` at once, firing nothing, as when the process was suspended: what fell due meanwhile fires, late, at the next `advance`. */
  jump(ms: number): void
  /** How many timers are pending. */
  readonly pending: number
}

interface Timer {
  readonly due: number
  readonly order: number
  readonly run: () => void
}

/**
 * Creates a clock for tests. It starts at a fixed time and stands still until it is moved.
 *
 * @example
 * ```ts
 * const clock = virtualClock()
 * const hub = createHub({ store: memoryStore(), clock })
 * await clock.advance(15_000) // every heartbeat of fifteen seconds, at once
 * ```
 */
export function virtualClock(): VirtualClock {
  // Captured now, so that a test which replaces the globals does not stop the clock.
  const turn = () => new Promise<void>((resolve) => nextTurn(resolve))
  const timers = new Set<Timer>()
  let now = 1_763_740_000_000
  let order = 0
  let isFrozen = false

  function earliest(until: number): Timer | undefined {
    let found: Timer | undefined
    if (isFrozen) return undefined
    for (const timer of timers) {
      if (timer.due > until) continue
      if (!found || timer.due < found.due || (timer.due === found.due && timer.order < found.order)) found = timer
    }
    return found
  }

  return {
    now: () => now,
    setTimeout(run, ms) {
      const timer = { due: now + Math.max(ms, 0), order: order++, run }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    async advance(ms) {
      const until = now + ms
      await turn()
      for (let timer = earliest(until); timer; timer = earliest(until)) {
        timers.delete(timer)
        now = Math.max(now, timer.due)
        timer.run()
        await turn()
      }
      now = Math.max(now, until)
      await turn()
    },
    freeze() {
      isFrozen = true
    },
    thaw() {
      isFrozen = false
    },
    jump(ms) {
      now += ms
    },
    get pending() {
      return timers.size
    },
  }
}
