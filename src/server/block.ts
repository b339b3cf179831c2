import { GAP, gapData } from '../protocol/control.js'
import { formatCursor, formatIdLine, type Place } from '../protocol/cursor.js'
import { encodeChecked, encodeEvent } from '../protocol/encode.js'
import type { StoredEvent } from '../protocol/store.js'
import { chunkOf, chunkOfText, payloadOf } from './chunk.js'

/** The most bytes that one write hands to a socket, unless a single frame is larger. */
export const MAX_BLOCK_BYTES = 64 * 1024

const LF = 10
const NONE: readonly Block[] = []

/** What a reader writes next. */
export interface Frames {
  readonly kind: 'frames'
  readonly bytes: Uint8Array
  /** The same as one chunk of HTTP/1.1, if that is at hand. */
  readonly chunk: Uint8Array | undefined
  /** The place of the last frame. */
  readonly end: Place
}

/**
 * A run of consecutive frames, encoded once and shared by every connection that writes it. It knows
 * the place it continues: a reader takes it only if it stands exactly there.
 */
export class Block implements Frames {
  readonly kind = 'frames'
  readonly epoch: string
  /** The offset before the first frame. */
  readonly after: number
  readonly afterTag: number
  /** The tags of the frames, in order. */
  readonly tags: readonly number[]
  readonly bytes: Uint8Array
  /** The same as one chunk of HTTP/1.1, for those who write to the socket itself. */
  readonly chunk: Uint8Array

  constructor(epoch: string, after: number, afterTag: number, tags: readonly number[], chunk: Uint8Array) {
    this.epoch = epoch
    this.after = after
    this.afterTag = afterTag
    this.tags = tags
    this.end = { epoch, offset: after + tags.length, tag: tags.at(-1) ?? afterTag }
    this.chunk = chunk
    this.bytes = payloadOf(chunk)
  }

  /** The place of the last frame: one object for all who stand there. */
  readonly end: Place

  /** The offset of the last frame. */
  get last(): number {
    return this.end.offset
  }

  /** The tag at `offset`; `undefined` when this block does not know it. */
  tagAt(offset: number): number | undefined {
    return offset === this.after ? this.afterTag : this.tags[offset - this.after - 1]
  }

  /** The frames after `offset`: mostly all, and then nothing is made for a reader. */
  framesAfter(offset: number): Frames {
    if (offset === this.after) return this
    // Only a reader that resumes inside a block comes here, once; so the borders of frames are looked for now, and not
    // stored for all.
    const bytes = this.bytes.subarray(frameEnd(this.bytes, offset - this.after))
    return { kind: 'frames', bytes, chunk: undefined, end: this.end }
  }
}

/** Where the `count`-th frame ends: a blank line stands nowhere inside a frame. */
function frameEnd(bytes: Uint8Array, count: number): number {
  let end = 0
  for (let frame = 0; frame < count; frame++) {
    let at = bytes.indexOf(LF, end)
    while (bytes[at + 1] !== LF) at = bytes.indexOf(LF, at + 1)
    end = at + 2
  }
  return end
}

/** Gathers events into blocks of at most `MAX_BLOCK_BYTES`, or one frame. */
export class BlockBuilder implements Place {
  readonly epoch: string
  #after: number
  #afterTag: number
  #tags: number[] = []
  #text = ''

  constructor(epoch: string, after: number, afterTag: number) {
    this.epoch = epoch
    this.#after = after
    this.#afterTag = afterTag
  }

  /** The offset of the last event that was taken; this and its tag are the place where the next block begins. */
  get offset(): number {
    return this.#after
  }

  get tag(): number {
    return this.#afterTag
  }

  get empty(): boolean {
    return this.#tags.length === 0
  }

  /** Adds one event. Returns the blocks that it completes. */
  add(event: StoredEvent): readonly Block[] {
    return this.#take(encodeStored(this.epoch, event), event.tag)
  }

  /** Adds one event that was checked when it was published here. Returns the blocks that it completes. */
  addChecked(event: string | undefined, data: string, place: Place): readonly Block[] {
    return this.#take(encodeChecked(event, data, formatIdLine(place)), place.tag)
  }

  #take(frame: string, tag: number): readonly Block[] {
    const complete = this.#text.length + frame.length > MAX_BLOCK_BYTES ? this.take() : NONE
    this.#text += frame
    this.#tags.push(tag)
    return complete
  }

  /** The blocks of what was added since the last take. */
  take(): readonly Block[] {
    if (this.empty) return NONE
    const blocks = split(new Block(this.epoch, this.#after, this.#afterTag, this.#tags, chunkOfText(this.#text)))
    this.#after += this.#tags.length
    this.#afterTag = this.#tags.at(-1) ?? this.#afterTag
    this.#tags = []
    this.#text = ''
    return blocks
  }
}

/** Text beyond ASCII takes more bytes than characters: such a block may have to be cut. */
function split(block: Block): Block[] {
  const { epoch, after, afterTag, tags, bytes } = block
  if (bytes.length <= MAX_BLOCK_BYTES || tags.length === 1) return [block]
  const half = tags.length >> 1
  const border = frameEnd(bytes, half)
  const left = new Block(epoch, after, afterTag, tags.slice(0, half), chunkOf(bytes.subarray(0, border)))
  const right = new Block(epoch, after + half, left.end.tag, tags.slice(half), chunkOf(bytes.subarray(border)))
  return [...split(left), ...split(right)]
}

function encodeStored(epoch: string, event: StoredEvent): string {
  const id = formatCursor({ epoch, offset: event.offset, tag: event.tag })
  try {
    return encodeEvent({ event: event.event, data: event.data, id })
  } catch {
    // Someone else wrote into the store what no frame can carry. It is one event lost: say so.
    return encodeEvent({ event: GAP, data: gapData({ reason: 'source', missed: 1 }), id })
  }
}
