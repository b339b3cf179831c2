import { microseconds } from '../payload.js'
import { Histogram } from '../statistics.js'

/** What a crowd did that lost its server. Times are milliseconds since the first connection was cut. */
export interface Return {
  /** Attempts in each 100 ms. */
  readonly attempts: readonly number[]
  /** The most attempts within any 100 ms: as they were made, and as they were due. A load that is late makes heaps. */
  readonly densest: number
  readonly densestDue: number
  /** When the last attempt was due: nobody can be live before. */
  readonly lastDueMs: number
  /** When all were live again. */
  readonly liveMs: number
  /** By how much the load itself was late with attempts, p99. */
  readonly lateMs: number
  /** From an attempt to the head of its response: p50 and p99. */
  readonly headMs: readonly [number, number]
  /** How many events arrived after the restart, on all together, and how many were not the next. */
  readonly events: number
  readonly disordered: number
  readonly gaps: number
}

/** Keeps the times of a crowd's return. */
export class ReturnLog {
  readonly #times: number[] = []
  readonly #due: number[] = []
  readonly #late = new Histogram()
  readonly #heads = new Histogram()
  #cutAt = 0
  events = 0
  disordered = 0
  gaps = 0

  /** Whether the server was lost. */
  get begun(): boolean {
    return this.#cutAt > 0
  }

  /** A connection was cut. */
  cut(): void {
    if (!this.begun) this.#cutAt = microseconds()
  }

  /** An attempt is being made that was due then. */
  attempt(due?: number): void {
    if (!this.begun) return
    const now = microseconds()
    this.#times.push(now - this.#cutAt)
    if (due === undefined) return
    this.#late.add(now - due)
    this.#due.push(due - this.#cutAt)
  }

  /** The head of a response has come to the attempt that was made then. */
  head(madeAt: number): void {
    if (this.begun) this.#heads.add(microseconds() - madeAt)
  }

  event(inOrder: boolean): void {
    if (!this.begun) return
    this.events++
    if (!inOrder) this.disordered++
  }

  /** All are live now, or were at `liveAt`. */
  report(liveAt: number): Return {
    const due = this.#due.toSorted((a, b) => a - b)
    const attempts: number[] = []
    for (const time of this.#times) {
      const tenth = Math.floor(time / 100_000)
      attempts[tenth] = (attempts[tenth] ?? 0) + 1
    }
    return {
      attempts: Array.from(attempts, (count) => count ?? 0),
      densest: densestOf(this.#times),
      densestDue: densestOf(due),
      lastDueMs: (due.at(-1) ?? 0) / 1_000,
      liveMs: (liveAt - this.#cutAt) / 1_000,
      lateMs: this.#late.percentile(0.99) / 1_000,
      headMs: [this.#heads.percentile(0.5) / 1_000, this.#heads.percentile(0.99) / 1_000],
      events: this.events,
      disordered: this.disordered,
      gaps: this.gaps,
    }
  }
}

/** The most of these times, which are in order, within any 100 ms. */
function densestOf(times: readonly number[]): number {
  let densest = 0
  for (let from = 0, to = 0; to < times.length; to++) {
    while ((times[to] ?? 0) - (times[from] ?? 0) >= 100_000) from++
    densest = Math.max(densest, to - from + 1)
  }
  return densest
}
