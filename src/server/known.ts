import type { StreamView } from '../protocol/store.js'

/**
 * What is known of a stream. It moves with every event, so it is changed in place, and made a view of its own only
 * for those who ask.
 */
export class Known {
  epoch = ''
  head = 0
  headTag = 0
  #first = 1
  #firstTag = 0
  #sealed = false
  #view: StreamView | undefined

  get sealed(): boolean {
    return this.#sealed
  }

  /** All of it as it is now; what is given out does not change. */
  get view(): StreamView {
    this.#view ??= {
      epoch: this.epoch,
      first: this.#first,
      firstTag: this.#firstTag,
      head: this.head,
      headTag: this.headTag,
      sealed: this.#sealed,
    }
    return this.#view
  }

  /** One event more. */
  advance(head: number, headTag: number): void {
    this.head = head
    this.headTag = headTag
    this.#view = undefined
  }

  /** The log was trimmed, or completed. */
  trim(first: number, firstTag: number, sealed: boolean): void {
    this.#first = first
    this.#firstTag = firstTag
    this.#sealed = sealed
    this.#view = undefined
  }

  /** It is another log from now on. */
  replace({ epoch, first, firstTag, head, headTag, sealed }: StreamView): void {
    this.epoch = epoch
    this.advance(head, headTag)
    this.trim(first, firstTag, sealed)
  }
}
