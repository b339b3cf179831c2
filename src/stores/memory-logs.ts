import type { MemoryLog } from './memory-log.js'

interface Link {
  readonly stream: string
  readonly log: MemoryLog
  older: Link | undefined
  newer: Link | undefined
}

/**
 * Logs by stream, the one that was longest unused first. Linked, for a `Map` keeps what was deleted in the chain of its
 * key until it is made anew: to delete and set one of 10,000 again and again took 20 µs each time, by what is in it.
 */
export class MemoryLogs {
  readonly #links = new Map<string, Link>()
  #oldest: Link | undefined
  #newest: Link | undefined

  get size(): number {
    return this.#links.size
  }

  /** The one that was used last. */
  get newest(): MemoryLog | undefined {
    return this.#newest?.log
  }

  get(stream: string): MemoryLog | undefined {
    // Mostly the same as before. To look it up, here and for the hub, is a twentieth of a publish.
    const newest = this.#newest
    return newest?.stream === stream ? newest.log : this.#links.get(stream)?.log
  }

  /** Puts it last, begun or not. */
  use(stream: string, log: MemoryLog): void {
    let link = this.#links.get(stream)
    if (link) {
      if (link === this.#newest) return
      this.#unlink(link)
    } else {
      link = { stream, log, older: undefined, newer: undefined }
      this.#links.set(stream, link)
    }
    link.older = this.#newest
    if (this.#newest) this.#newest.newer = link
    else this.#oldest = link
    this.#newest = link
  }

  delete(stream: string): void {
    const link = this.#links.get(stream)
    if (!link) return
    this.#links.delete(stream)
    this.#unlink(link)
  }

  /** What comes next is known before each is handed out: it may be deleted. */
  *[Symbol.iterator](): Generator<[string, MemoryLog]> {
    for (let link = this.#oldest; link; ) {
      const { stream, log, newer } = link
      yield [stream, log]
      link = newer
    }
  }

  #unlink(link: Link): void {
    const { older, newer } = link
    if (older) older.newer = newer
    else this.#oldest = newer
    if (newer) newer.older = older
    else this.#newest = older
    link.older = link.newer = undefined
  }
}
