import type { Clock } from '../protocol/clock.js'

/** A timer that fires this late was held up by a sleeping process: what waits may be ready by now. */
const SLEPT_MS = 1_000

/**
 * One deadline for many waits: each is given the same time, so the oldest is always the first to end,
 * and one timer serves them all.
 */
export class Deadlines<T extends object> {
  readonly #clock: Clock
  readonly #ms: number
  readonly #late: (item: T) => void
  readonly #due = new Map<T, number>()
  #cancel: (() => void) | undefined

  constructor(clock: Clock, ms: number, late: (item: T) => void) {
    this.#clock = clock
    this.#ms = ms
    this.#late = late
  }

  /** Starts the time of `item`, unless it is running already. */
  add(item: T): void {
    if (this.#due.has(item)) return
    this.#due.set(item, this.#clock.now() + this.#ms)
    if (!this.#cancel) this.#arm(this.#ms)
  }

  delete(item: T): void {
    if (this.#due.delete(item) && this.#due.size === 0) this.#disarm()
  }

  #arm(ms: number): void {
    const due = this.#clock.now() + ms
    this.#cancel = this.#clock.setTimeout(() => this.#fire(this.#clock.now() - due > SLEPT_MS), ms, false)
  }

  #disarm(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #fire(slept: boolean): void {
    this.#cancel = undefined
    if (slept) {
      this.#arm(Math.min(SLEPT_MS, this.#ms))
      return
    }
    const now = this.#clock.now()
    for (const [item, due] of this.#due) {
      if (due > now) {
        this.#disarm()
        this.#arm(due - now)
        return
      }
      this.#due.delete(item)
      this.#late(item)
    }
    if (this.#due.size === 0) this.#disarm()
  }
}
