/**
 * Who owns what is stored: each outbox holds a lock with its name for as long as it lives, and takes
 * over from those whose lock is free. Where there are no Web Locks, all others count as gone.
 */
export class Owners {
  readonly #nameOf: (owner: string) => string
  readonly #locks: LockManager | undefined
  readonly #end = new AbortController()
  /** What every lock is held for. */
  readonly #ended: Promise<void>

  constructor(nameOf: (owner: string) => string) {
    this.#nameOf = nameOf
    const { signal } = this.#end
    this.#ended = new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    this.#locks = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks
  }

  /** Whether those who live can be told from those who are gone. */
  get canTell(): boolean {
    return this.#locks !== undefined
  }

  /** Resolves with whether the lock was free, and is ours now: nobody else takes over from this owner then. */
  take(owner: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (!this.#locks) return resolve(true)
      this.#request(owner, { ifAvailable: true }, () => resolve(true)).then(() => resolve(false), reject)
    })
  }

  /** Calls `then` when an owner that lives has gone, and its lock is ours. */
  onFree(owner: string, then: () => void): void {
    this.#request(owner, {}, then).catch(() => {})
  }

  /** Frees all locks, and stops waiting for others. */
  end(): void {
    this.#end.abort()
  }

  /** Resolves at the end, or at once when the lock is not to be had. */
  async #request(owner: string, options: LockOptions, held: () => void): Promise<void> {
    const { signal } = this.#end
    if (signal.aborted) return
    // A signal and `ifAvailable` exclude each other.
    const full = options.ifAvailable ? options : { ...options, signal }
    await this.#locks?.request(this.#nameOf(owner), full, (lock) => {
      if (lock === null || signal.aborted) return undefined
      held()
      return this.#ended
    })
  }
}
