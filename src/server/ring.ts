import type { Place } from '../protocol/cursor.js'
import type { Block } from './block.js'

/** The newest frames of a stream, encoded once for all who read them, bounded by bytes. */
export class Ring {
  readonly #maxBytes: number
  readonly #blocks: Block[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds blocks that continue what is held. The newest stays, however large. */
  push(blocks: readonly Block[]): void {
    for (const block of blocks) {
      this.#blocks.push(block)
      this.#bytes += block.bytes.length
    }
    while (this.#bytes > this.#maxBytes && this.#blocks.length > 1) {
      this.#bytes -= this.#blocks.shift()?.bytes.length ?? 0
    }
  }

  clear(): void {
    this.#blocks.length = 0
    this.#bytes = 0
  }

  /** The block that holds the frame after `place`, if the ring goes back that far. */
  blockAfter(place: Place): Block | undefined {
    const blocks = this.#blocks
    const newest = blocks.at(-1)
    if (!newest || place.epoch !== newest.epoch || place.offset >= newest.last) return undefined
    if (newest.after <= place.offset) return newest
    let low = 0
    let high = blocks.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((blocks[middle]?.last ?? 0) > place.offset) high = middle
      else low = middle + 1
    }
    const block = blocks[low]
    return block && block.after <= place.offset ? block : undefined
  }
}
