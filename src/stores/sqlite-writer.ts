import { type Clock, nextTurn } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import { isBusy } from './sqlite-connection.js'

/** So much in one transaction at most: the event loop stands still meanwhile. */
const SLICE_WEIGHT = 512 * 1024
/** What a change costs besides its bytes. */
const CHANGE_WEIGHT = 512
/** The pauses between tries on a busy database grow from the one to the other. */
const PAUSES_MS: readonly [number, number] = [2, 25]

interface Change {
  /** Throws an SseError before it has written anything, or else fails the whole transaction. */
  readonly run: () => void
  readonly settle: () => void
  readonly fail: (error: unknown) => void
  readonly weight: number
  /** Whether it needs a transaction of its own. */
  readonly isAlone: boolean
  readonly signal: AbortSignal | undefined
  readonly until: number
}

export interface SqliteWriterOptions {
  readonly clock: () => Clock
  readonly lockTimeoutMs: number
  /** Runs `changes` in a transaction, and tells whoever has to know once it is committed. */
  readonly transact: (changes: () => void) => void
}

/** Gathers the changes of one turn of the event loop into as few transactions as possible, and waits while others write. */
export class SqliteWriter {
  readonly #options: SqliteWriterOptions
  #changes: Change[] = []
  #isScheduled = false
  #tries = 0

  constructor(options: SqliteWriterOptions) {
    this.#options = options
  }

  /** Resolves with what `run` returns once it is stored. */
  add<T>(
    run: () => T,
    {
      bytes = 0,
      isAlone = false,
      signal,
    }: { bytes?: number; isAlone?: boolean; signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    const { clock, lockTimeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      let result: T
      this.#changes.push({
        run() {
          result = run()
        },
        settle: () => resolve(result),
        fail: reject,
        weight: CHANGE_WEIGHT + bytes,
        isAlone,
        signal,
        until: clock().now() + lockTimeoutMs,
      })
      if (!this.#isScheduled) this.#soon()
    })
  }

  #soon(): void {
    this.#isScheduled = true
    nextTurn(() => this.#flush())
  }

  #later(): void {
    this.#isScheduled = true
    const [least, most] = PAUSES_MS
    const ms = Math.min(most, least * 2 ** Math.min(this.#tries++, 8)) * (0.5 + Math.random() / 2)
    this.#options.clock().setTimeout(() => this.#flush(), ms)
  }

  #flush(): void {
    this.#isScheduled = false
    const slice = this.#take()
    try {
      this.#commit(slice)
      this.#tries = 0
    } catch (error) {
      if (isBusy(error)) {
        this.#wait(slice, error)
        if (this.#changes.length > 0) this.#later()
        return
      }
      this.#commitSingly(slice, error)
    }
    if (this.#changes.length > 0) this.#soon()
  }

  /** As many as go into one transaction. */
  #take(): Change[] {
    const slice: Change[] = []
    let weight = 0
    let count = 0
    for (const change of this.#changes) {
      if (slice.length > 0 && (weight + change.weight > SLICE_WEIGHT || change.isAlone)) break
      count++
      if (change.signal?.aborted) {
        change.fail(change.signal.reason)
        continue
      }
      slice.push(change)
      weight += change.weight
      if (change.isAlone) break
    }
    this.#changes = this.#changes.slice(count)
    return slice
  }

  #commit(slice: readonly Change[]): void {
    if (slice.length === 0) return
    const refused = new Map<Change, unknown>()
    this.#options.transact(() => {
      for (const change of slice) {
        try {
          change.run()
        } catch (error) {
          if (change.isAlone || !(error instanceof SseError)) throw error
          refused.set(change, error)
        }
      }
    })
    for (const change of slice) {
      if (refused.has(change)) change.fail(refused.get(change))
      else change.settle()
    }
  }

  /** Puts them back, but for those that have waited long enough. */
  #wait(slice: readonly Change[], error: unknown): void {
    const now = this.#options.clock().now()
    const patient = (change: Change) => {
      if (now < change.until) return true
      change.fail(error)
      return false
    }
    this.#changes = [...slice, ...this.#changes].filter(patient)
  }

  /** One of them has failed all: the others shall not pay for it. When two fail, it is the database. */
  #commitSingly(slice: readonly Change[], failure: unknown): void {
    if (slice.length === 1) {
      slice[0]?.fail(failure)
      return
    }
    let failures = 0
    for (const [index, change] of slice.entries()) {
      try {
        this.#commit([change])
      } catch (error) {
        if (isBusy(error)) {
          this.#wait(slice.slice(index), error)
          return
        }
        change.fail(error)
        if (++failures < 2) continue
        for (const other of slice.slice(index + 1)) other.fail(error)
        return
      }
    }
  }
}
