import { randomEpoch, randomTag } from '../../src/protocol/cursor.js'
import type {
  AppendEvent,
  Appended,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoredEvent,
  StreamView,
} from '../../src/protocol/store.js'

interface Log {
  readonly epoch: string
  readonly events: readonly StoredEvent[]
}

/** The plainest store there is, of one stream; it can be put back to what it was, or lose all. */
export class ArrayStore implements EventStore {
  readonly pollMs = 1_000
  #log: Log | undefined
  readonly #hints = new Set<Hint>()

  /** What is there now, to be given to `restore` later; `undefined` is nothing at all. */
  get copy(): Log | undefined {
    return this.#log
  }

  restore(copy: Log | undefined): void {
    this.#log = copy
  }

  append(_: string, events: readonly AppendEvent[]): readonly Appended[] {
    const places = events.map(({ event, data }) => {
      const { epoch, events: before } = this.#present()
      const place = { offset: before.length + 1, tag: randomTag() }
      this.#log = { epoch, events: [...before, { ...place, event, data }] }
      return { ...place, epoch, duplicate: false, previousTag: before.at(-1)?.tag ?? 0 }
    })
    for (const hint of this.#hints) hint(undefined)
    return places
  }

  open(): StreamView {
    return viewOf(this.#present())
  }

  read(_: string, offset: number, { limit }: ReadOptions): Page | null {
    if (!this.#log) return null
    const { events } = this.#log
    const tag = offset === 0 ? 0 : events[offset - 1]?.tag
    return { ...viewOf(this.#log), tag, events: events.slice(offset, offset + limit) }
  }

  async watch(_: string, hint: Hint): Promise<() => void> {
    this.#hints.add(hint)
    return () => this.#hints.delete(hint)
  }

  seal(): StreamView {
    throw new Error('not here')
  }

  #present(): Log {
    this.#log ??= { epoch: randomEpoch(), events: [] }
    return this.#log
  }
}

function viewOf({ epoch, events }: Log): StreamView {
  return { epoch, first: 1, firstTag: 0, head: events.length, headTag: events.at(-1)?.tag ?? 0, sealed: false }
}
