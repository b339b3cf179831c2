import { type Clock, nextTurn } from '../../src/protocol/clock.js'

interface Timer {
  readonly due: number
  readonly order: number
  run: (() => void) | undefined
}

/** Virtual time for crowds: what is due first is found at once, and what is due together fires in one turn. */
export class HeapClock implements Clock {
  #now = 1_763_740_000_000
  #order = 0
  readonly #heap: Timer[] = []
  pending = 0

  now(): number {
    return this.#now
  }

  setTimeout(run: () => void, ms: number): () => void {
    const timer: Timer = { due: this.#now + Math.max(0, ms), order: this.#order++, run }
    this.pending++
    this.#heap.push(timer)
    for (let at = this.#heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!this.#swapIfLater(parent, at)) break
      at = parent
    }
    return () => {
      if (timer.run) this.pending--
      timer.run = undefined
    }
  }

  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.#turn()
    for (let first = this.#heap[0]; first && first.due <= until; first = this.#heap[0]) {
      this.#now = Math.max(this.#now, first.due)
      let hasFired = false
      for (let timer = this.#heap[0]; timer && timer.due <= this.#now; timer = this.#heap[0]) {
        this.#remove()
        const { run } = timer
        if (!run) continue
        timer.run = undefined
        this.pending--
        hasFired = true
        run()
      }
      if (hasFired) await this.#turn()
    }
    this.#now = until
    await this.#turn()
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => nextTurn(resolve))
  }

  #remove(): void {
    const last = this.#heap.pop()
    if (!last || this.#heap.length === 0) return
    this.#heap[0] = last
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      const least = this.#isLater(left, left + 1) ? left + 1 : left
      if (!this.#swapIfLater(at, least)) return
      at = least
    }
  }

  #isLater(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (!one || !other) return false
    return one.due > other.due || (one.due === other.due && one.order > other.order)
  }

  #swapIfLater(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (!one || !other || !this.#isLater(a, b)) return false
    this.#heap[a] = other
    this.#heap[b] = one
    return true
  }
}
