import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended } from '../protocol/store.js'
import { sqlState } from './postgres-pool.js'

/** The most events, and the most characters, of one statement. */
const BATCH_EVENTS = 1_000
const BATCH_CHARS = 1024 * 1024

/** Appends what is given, all of it or nothing. */
export type AppendBatch = (stream: string, events: readonly AppendEvent[]) => Promise<Appended[]>

interface Waiting {
  readonly events: readonly AppendEvent[]
  readonly chars: number
  readonly signal: AbortSignal | undefined
  readonly resolve: (places: Appended[]) => void
  readonly reject: (error: unknown) => void
}

/**
 * One writer for each stream: while its statement is under way, what arrives waits, and goes as one batch. Many
 * statements at once on one stream would only wait for each other's lock.
 */
export class PostgresWriters {
  readonly #append: AppendBatch
  readonly #maxChars: number
  readonly #queues = new Map<string, Waiting[]>()
  #chars = 0

  constructor(append: AppendBatch, maxChars: number) {
    this.#append = append
    this.#maxChars = maxChars
  }

  append(stream: string, events: readonly AppendEvent[], signal: AbortSignal | undefined): Promise<Appended[]> {
    const chars = events.reduce((sum, { data, event }) => sum + data.length + (event?.length ?? 0) + 64, 0)
    if (this.#chars + chars > this.#maxChars && this.#chars > 0) {
      throw new SseError(
        'OVERLOADED',
        `What waits to be written holds more than \`maxPendingBytes\` (${this.#maxChars}): the database is slower than what is published.`,
      )
    }
    return new Promise((resolve, reject) => {
      this.#chars += chars
      const waiting = { events, chars, signal, resolve, reject }
      const queue = this.#queues.get(stream)
      if (queue) queue.push(waiting)
      else {
        this.#queues.set(stream, [waiting])
        void this.#run(stream)
      }
    })
  }

  /** Resolves when what waits in the stream by now is written, or was rejected. */
  async settled(stream: string): Promise<void> {
    const queue = this.#queues.get(stream)
    if (!queue) return
    await new Promise<void>((resolve) => {
      queue.push({ events: [], chars: 0, signal: undefined, resolve: () => resolve(), reject: () => resolve() })
    })
  }

  async #run(stream: string): Promise<void> {
    // What is published in the same turn goes with the first.
    await undefined
    const queue = this.#queues.get(stream) ?? []
    while (queue.length > 0) await this.#write(stream, this.#take(queue))
    this.#queues.delete(stream)
  }

  #take(queue: Waiting[]): Waiting[] {
    let [count, events, chars] = [0, 0, 0]
    for (const waiting of queue) {
      events += waiting.events.length
      chars += waiting.chars
      if (count > 0 && (events > BATCH_EVENTS || chars > BATCH_CHARS)) break
      count++
    }
    return queue.splice(0, count).filter((waiting) => {
      this.#chars -= waiting.chars
      if (!waiting.signal?.aborted) return true
      waiting.reject(waiting.signal.reason)
      return false
    })
  }

  /** Never rejects. */
  async #write(stream: string, batch: readonly Waiting[]): Promise<void> {
    const events = batch.flatMap((waiting) => waiting.events)
    try {
      const places = events.length === 0 ? [] : await this.#append(stream, events)
      let at = 0
      for (const waiting of batch) {
        const end = at + waiting.events.length
        waiting.resolve(places.slice(at, end))
        at = end
      }
    } catch (error) {
      // What one of them is to blame for must not fail the others.
      if (batch.length > 1 && isOfTheInput(error)) for (const waiting of batch) await this.#write(stream, [waiting])
      else for (const waiting of batch) waiting.reject(error)
    }
  }
}

/** Whether the database refused what it was given (bad data, a constraint, a limit), as against being unable to work. */
function isOfTheInput(error: unknown): boolean {
  return /^(22|23|54)/.test(sqlState(error) ?? '')
}
