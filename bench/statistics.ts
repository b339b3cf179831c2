/** Several measurements of one thing. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly runs: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [below = 0, above = 0] = sorted.length % 2 ? [sorted[middle], sorted[middle]] : sorted.slice(middle - 1)
  return { median: (below + above) / 2, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0, runs: sorted.length }
}

/** How many values fell where, in buckets that are 4 % wide: percentiles of millions in constant space. */
export class Histogram {
  readonly #buckets = new Float64Array(1_024)
  count = 0
  max = 0

  add(value: number): void {
    const bucket = value <= 1 ? 0 : Math.min(1_023, Math.ceil(Math.log(value) / Math.log(1.04)))
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
    this.count++
    if (value > this.max) this.max = value
  }

  percentile(part: number): number {
    let left = part * this.count
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      left -= this.#buckets[bucket] ?? 0
      if (left <= 0) return Math.min(this.max, 1.04 ** bucket)
    }
    return this.max
  }
}
