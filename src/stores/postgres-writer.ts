import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended } from '../protocol/store.js'
import { sqlState } from './postgres-pool.js'

/** The most events, and the most characters, of one statement. */
const BATCH_EVENTS = 1_000
const BATCH_CHARS = 1024 * 1024
/** So often within `timeoutMs` it is looked for what has waited too long. */
const LOOKS = 10

export interface PostgresWritersOptions {
  /** Appends what is given, all of it or nothing. */
  readonly append: (stream: string, events: readonly AppendEvent[]) => Promise<Appended[]>
  readonly clock: () => Clock
  /** The most characters that wait. */
  readonly maxChars: number
  /** How long an append may wait for those before it. */
  readonly timeoutMs: number
}

interface Waiting {
  readonly events: readonly AppendEvent[]
  readonly chars: number
  readonly since: number
  readonly resolve: (places: Appended[]) => void
  readonly reject: (error: unknown) => void
}

interface Queue {
  readonly waiting: Waiting[]
  chars: number
}

/**
 * One writer for each stream: while its statement is under way, what arrives waits, and goes as one batch. Many
 * statements at once on one stream would only wait for each other's lock.
 */
export class PostgresWriters {
  readonly #options: PostgresWritersOptions
  readonly #queues = new Map<string, Queue>()
  #chars = 0
  #cancelLook: (() => void) | undefined

  constructor(options: PostgresWritersOptions) {
    this.#options = options
  }

  append(stream: string, events: readonly AppendEvent[], signal: AbortSignal | undefined): Promise<Appended[]> {
    signal?.throwIfAborted()
    const chars = events.reduce((sum, { data, event }) => sum + data.length + (event?.length ?? 0) + 64, 0)
    this.#admit(stream, chars)
    return new Promise((resolve, reject) => {
      if (!signal) {
        this.#add(stream, { events, chars, since: this.#options.clock().now(), resolve, reject })
        return
      }
      const aborted = () => {
        // What is under way cannot be taken back.
        if (this.#drop(stream, waiting)) reject(signal.reason)
      }
      const settled = () => signal.removeEventListener('abort', aborted)
      signal.addEventListener('abort', aborted, { once: true })
      const waiting: Waiting = {
        events,
        chars,
        since: this.#options.clock().now(),
        resolve(places) {
          settled()
          resolve(places)
        },
        reject(error) {
          settled()
          reject(error)
        },
      }
      this.#add(stream, waiting)
    })
  }

  /** Resolves when what waits in the stream by now is written, or was rejected. */
  async settled(stream: string): Promise<void> {
    if (!this.#queues.has(stream)) return
    await new Promise<void>((resolve) => {
      const done = () => resolve()
      this.#add(stream, { events: [], chars: 0, since: this.#options.clock().now(), resolve: done, reject: done })
    })
  }

  /** What waits in one stream takes at most as much as it leaves: so a stream that is locked leaves room for the others. */
  #admit(stream: string, chars: number): void {
    const { maxChars } = this.#options
    const own = this.#queues.get(stream)?.chars ?? 0
    const left = maxChars - this.#chars - chars
    if (this.#chars === 0 || (left >= 0 && (own === 0 || own + chars <= left))) return
    throw new SseError(
      'OVERLOADED',
      left < 0
        ? `What waits to be written holds more than \`maxPendingBytes\` (${maxChars}): the database is slower than what is published.`
        : `What waits to be written in the stream ${JSON.stringify(stream)} holds more than its share of \`maxPendingBytes\` (${maxChars}): it is locked, or slower than what is published.`,
    )
  }

  #add(stream: string, waiting: Waiting): void {
    this.#chars += waiting.chars
    const queue = this.#queues.get(stream)
    if (queue) {
      queue.chars += waiting.chars
      queue.waiting.push(waiting)
    } else {
      this.#queues.set(stream, { waiting: [waiting], chars: waiting.chars })
      void this.#run(stream)
    }
    if (!this.#cancelLook) this.#lookLater()
  }

  #drop(stream: string, waiting: Waiting): boolean {
    const queue = this.#queues.get(stream)
    const index = queue?.waiting.indexOf(waiting) ?? -1
    if (!queue || index < 0) return false
    this.#remove(queue, index, 1)
    return true
  }

  #remove(queue: Queue, from: number, count: number): Waiting[] {
    const removed = queue.waiting.splice(from, count)
    for (const { chars } of removed) {
      queue.chars -= chars
      this.#chars -= chars
    }
    return removed
  }

  #lookLater(): void {
    const { clock, timeoutMs } = this.#options
    this.#cancelLook = clock().setTimeout(() => this.#look(), timeoutMs / LOOKS, false)
  }

  /** Rejects what has waited too long, and was never sent. */
  #look(): void {
    this.#cancelLook = undefined
    const { clock, timeoutMs } = this.#options
    const before = clock().now() - timeoutMs
    for (const queue of this.#queues.values()) {
      const late = queue.waiting.findIndex(({ since }) => since > before)
      const count = late < 0 ? queue.waiting.length : late
      if (count === 0) continue
      const message = `Those before it were not written within ${timeoutMs} ms: nothing of it was stored.`
      for (const waiting of this.#remove(queue, 0, count)) waiting.reject(new SseError('STORE_UNAVAILABLE', message))
    }
    if (this.#queues.size > 0) this.#lookLater()
  }

  async #run(stream: string): Promise<void> {
    // What is published in the same turn goes with the first.
    await undefined
    const queue = this.#queues.get(stream)
    while (queue && queue.waiting.length > 0) await this.#write(stream, this.#take(queue))
    this.#queues.delete(stream)
    if (this.#queues.size > 0) return
    this.#cancelLook?.()
    this.#cancelLook = undefined
  }

  #take(queue: Queue): Waiting[] {
    let [count, events, chars] = [0, 0, 0]
    for (const waiting of queue.waiting) {
      events += waiting.events.length
      chars += waiting.chars
      if (count > 0 && (events > BATCH_EVENTS || chars > BATCH_CHARS)) break
      count++
    }
    return this.#remove(queue, 0, count)
  }

  /** Never rejects. */
  async #write(stream: string, batch: readonly Waiting[]): Promise<void> {
    const events = batch.flatMap((waiting) => waiting.events)
    try {
      const places = events.length === 0 ? [] : await this.#options.append(stream, events)
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
