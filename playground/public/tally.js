/** Counts what a client is handed. The events carry numbers of their own, so that nobody's word is taken for it. */
export class Tally {
  events = 0
  gaps = 0
  /** Missing, and no gap said so. */
  lost = 0
  /** Handed over a second time. */
  twice = 0
  /** The number of the newest event. */
  handed = undefined
  /** The number that the next event must carry; unknown at first and after a gap that cannot tell. */
  #expected

  event(n) {
    this.events++
    if (this.#expected !== undefined && n > this.#expected) this.lost += n - this.#expected
    if (this.#expected !== undefined && n < this.#expected) this.twice++
    this.#expected = Math.max(this.#expected ?? 0, n + 1)
    this.handed = n
  }

  gap(missed) {
    this.gaps++
    this.#expected = missed === null || this.#expected === undefined ? undefined : this.#expected + missed
  }
}
