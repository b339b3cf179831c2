import type { Place } from '../protocol/cursor.js'
import type { Moved } from './hints.js'

/** Told when there may be something new, or when the place that a reader holds is no longer true. */
export interface TailReader {
  wake(): void
  /** Where the reader stands, if the stream's producers are to wait for it. */
  readonly place?: Place | undefined
}

/** Those who read one stream in this process, and the producers that wait for them. */
export class Readers {
  readonly #readers = new Set<TailReader>()
  readonly #producers = new Set<() => void>()

  get size(): number {
    return this.#readers.size
  }

  add(reader: TailReader): void {
    this.#readers.add(reader)
  }

  remove(reader: TailReader): void {
    this.#readers.delete(reader)
    this.moved()
  }

  clear(): void {
    this.#readers.clear()
    this.moved()
  }

  wake(): void {
    for (const reader of this.#readers) reader.wake()
  }

  /** How many events the slowest reader is behind. */
  behind({ epoch, head }: Moved): number {
    let most = 0
    for (const { place } of this.#readers) if (place?.epoch === epoch) most = Math.max(most, head - place.offset)
    return most
  }

  /** What to wait for while `isFull`, if it is: looks again whenever a reader has moved; an aborted `signal` ends the wait. */
  room(isFull: () => boolean, signal: AbortSignal | undefined): Promise<void> | undefined {
    return isFull() ? this.#wait(isFull, signal) : undefined
  }

  async #wait(isFull: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    while (isFull() && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        const look = () => {
          this.#producers.delete(look)
          signal?.removeEventListener('abort', look)
          resolve()
        }
        this.#producers.add(look)
        signal?.addEventListener('abort', look)
      })
    }
  }

  /** A reader has moved: producers look again. */
  moved(): void {
    if (this.#producers.size > 0) for (const look of [...this.#producers]) look()
  }
}
