import type { Clock } from '../protocol/clock.js'

/** A storage that takes longer is not waited for. */
const PATIENCE_MS = 5_000

interface Deps {
  readonly who: 'storage' | 'lock manager'
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** What hung has answered. */
  readonly onBack: () => void
}

/** Asks a storage, or for a lock, waits for no answer longer than five seconds, and knows when one hangs. */
export class Patience {
  readonly #who: string
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #onBack: () => void
  /** What is read, and given up at the end. */
  readonly #reads = new Set<() => void>()
  /** What is written, and waited for at the end. */
  readonly #writes = new Set<Promise<unknown>>()
  #isStuck = false
  #isClosed = false

  constructor({ who, clock, onError, onBack }: Deps) {
    this.#who = who
    this.#clock = clock
    this.#onError = onError
    this.#onBack = onBack
  }

  /** Something hangs: what would be asked now would pile up behind it. */
  get isStuck(): boolean {
    return this.#isStuck
  }

  async write(begin: () => Promise<unknown>, what: string): Promise<void> {
    const write = this.#within(begin, what, () => {})
    this.#writes.add(write)
    await write
    this.#writes.delete(write)
  }

  /** What comes of it in time; `undefined` when it fails, which is reported, and at the end. */
  async read<T>(begin: () => Promise<T>, what: string): Promise<T | undefined> {
    if (this.#isClosed) return undefined
    let giveUp = () => {}
    const read = this.#within(begin, what, (finish) => {
      giveUp = finish
      this.#reads.add(giveUp)
    })
    const value = await read
    this.#reads.delete(giveUp)
    return value
  }

  /** Gives up what is read, and waits for what is written. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const giveUp of [...this.#reads]) giveUp()
    await Promise.all(this.#writes)
  }

  #within<T>(begin: () => Promise<T>, what: string, begun: (finish: () => void) => void): Promise<T | undefined> {
    return new Promise((resolve) => {
      const finish = (value?: T) => {
        cancel()
        resolve(value)
      }
      const cancel = this.#clock.setTimeout(() => {
        this.#isStuck = true
        this.#onError(new Error(`The ${this.#who} did not answer within ${PATIENCE_MS} ms (${what})`))
        finish()
      }, PATIENCE_MS)
      begun(finish)
      const attempt = async () => begin()
      attempt().then(
        (value) => {
          finish(value)
          this.#answered()
        },
        (error: unknown) => {
          this.#onError(error)
          finish()
          this.#answered()
        },
      )
    })
  }

  #answered(): void {
    if (!this.#isStuck) return
    this.#isStuck = false
    this.#onBack()
  }
}
