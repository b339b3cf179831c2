import { nextTurn } from '../protocol/clock.js'

/** Where a stream has moved to, by a hint. */
export interface Moved {
  readonly epoch: string
  readonly head: number
}

/** Gathers the hints of one turn, and asks for one look when they point beyond what is known by its end. */
export class Hints {
  readonly #knows: (to: Moved) => boolean
  readonly #look: () => void
  #target: Moved | 'anywhere' | undefined

  constructor(knows: (to: Moved) => boolean, look: () => void) {
    this.#knows = knows
    this.#look = look
  }

  /** @param to - left out when the hint does not say. */
  take(to: Moved | undefined): void {
    if (to && this.#knows(to)) return
    const isScheduled = this.#target !== undefined
    this.#target = this.#target === undefined ? (to ?? 'anywhere') : farther(this.#target, to)
    if (isScheduled) return
    nextTurn(() => {
      const target = this.#target
      this.#target = undefined
      // By now this process may have been given what the hint was about.
      if (target === 'anywhere' || (target && !this.#knows(target))) this.#look()
    })
  }
}

function farther(target: Moved | 'anywhere', to: Moved | undefined): Moved | 'anywhere' {
  if (target === 'anywhere' || to === undefined || to.epoch !== target.epoch) return 'anywhere'
  return to.head > target.head ? to : target
}
