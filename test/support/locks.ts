interface Request {
  readonly name: string
  readonly run: (lock: Lock | null) => unknown
  readonly end: (value: unknown) => void
}

/** Web Locks, exclusive ones, in memory. */
export class Locks {
  readonly #held = new Set<string>()
  #queue: Request[] = []

  get held(): number {
    return this.#held.size
  }

  request(name: string, options: LockOptions, run: (lock: Lock | null) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const request = { name, run, end: resolve }
      const isTaken = this.#held.has(name) || this.#queue.some((each) => each.name === name)
      if (options.ifAvailable && isTaken) return void Promise.resolve(run(null)).then(resolve, reject)
      this.#queue.push(request)
      options.signal?.addEventListener('abort', () => {
        if (!this.#queue.includes(request)) return
        this.#queue = this.#queue.filter((each) => each !== request)
        reject(new DOMException('aborted', 'AbortError'))
      })
      void Promise.resolve().then(() => this.#grant())
    })
  }

  #grant(): void {
    const next = this.#queue.find(({ name }) => !this.#held.has(name))
    if (!next) return
    this.#queue = this.#queue.filter((each) => each !== next)
    this.#held.add(next.name)
    const lock = { name: next.name, mode: 'exclusive' } as Lock
    void Promise.resolve(next.run(lock)).then((value) => {
      this.#held.delete(next.name)
      next.end(value)
      this.#grant()
    })
    this.#grant()
  }
}
