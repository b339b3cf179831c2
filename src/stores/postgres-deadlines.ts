import type { Clock } from '../protocol/clock.js'

/** A timer that fires this late was held up by a sleeping process: answers may be there already. */
const SLEPT_MS = 1_000

interface Wait {
  readonly due: number
  readonly late: () => void
}

/** What the database did not answer in time: whether it was done is not known. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

/** Deadlines for what the database is asked: one timer, of the earliest, serves them all. */
export class PostgresDeadlines {
  readonly #clock: () => Clock
  readonly #waits = new Set<Wait>()
  #timer: { readonly due: number; readonly cancel: () => void } | undefined

  constructor(clock: () => Clock) {
    this.#clock = clock
  }

  /** Settles as `work` does, or rejects with what `late` returns when that takes longer. */
  within<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const wait = { due: this.#clock().now() + ms, late: () => reject(late()) }
      this.#add(wait, ms)
      work.then(
        (value) => {
          this.#delete(wait)
          resolve(value)
        },
        (error: unknown) => {
          this.#delete(wait)
          reject(error)
        },
      )
    })
  }

  #add(wait: Wait, ms: number): void {
    this.#waits.add(wait)
    if (this.#timer && this.#timer.due <= wait.due) return
    this.#disarm()
    this.#arm(wait.due, ms)
  }

  #delete(wait: Wait): void {
    if (this.#waits.delete(wait) && this.#waits.size === 0) this.#disarm()
  }

  #arm(due: number, ms: number): void {
    this.#timer = { due, cancel: this.#clock().setTimeout(() => this.#fire(due), ms, false) }
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #fire(meant: number): void {
    this.#timer = undefined
    const now = this.#clock().now()
    if (now - meant > SLEPT_MS) {
      this.#arm(now + SLEPT_MS, SLEPT_MS)
      return
    }
    let next = Number.POSITIVE_INFINITY
    for (const wait of this.#waits) {
      if (wait.due > now) {
        next = Math.min(next, wait.due)
        continue
      }
      this.#waits.delete(wait)
      wait.late()
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next, next - now)
  }
}
