import { createParser } from 'eventsource-parser'
import { SseError } from '../protocol/error.js'

/** One finished block of fields that carries data: an event, by the HTML standard. */
export interface Block {
  readonly event?: string | undefined
  readonly data: string
  /** `undefined` when the block had no `id` field. */
  readonly id?: string | undefined
}

export interface BlockReceiver {
  block(block: Block): void
  /** A block that had an `id` and no data. */
  place(id: string): void
  retry(ms: number): void
}

const LF = 10
const LAST_ASCII = 127
const CR = 13

/**
 * Decodes and parses the bytes of one response, whatever pieces they come in, and bounds an open block: every field,
 * comments and unfinished lines included.
 */
export class BlockReader {
  // The parser strips the one it must. Left to the decoder, some runtimes would strip one from every piece.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  readonly #parser: { feed(text: string): void }
  readonly #to: BlockReceiver
  readonly #maxBytes: number
  /** How many bytes the open block has so far. */
  #open = 0
  /** The newest byte: at the start of a line, the end of the one before. */
  #last: number | undefined = LF
  #id: string | undefined

  constructor(maxBytes: number, to: BlockReceiver) {
    this.#maxBytes = maxBytes
    this.#to = to
    this.#parser = createParser({
      onId: (id) => {
        this.#flushPlace()
        this.#id = id
      },
      onEvent: (message) => {
        if (message.id === undefined) this.#flushPlace()
        else this.#id = undefined
        to.block(message)
      },
      onRetry: (ms) => to.retry(ms),
    })
  }

  /**
   * @param bytes - at least one.
   * @throws SseError `FRAME_TOO_LARGE`, after the blocks before the one that is too large were received.
   */
  feed(bytes: Uint8Array): void {
    const isTight = this.#open + bytes.length > this.#maxBytes
    const fits = this.#count(bytes, isTight ? 0 : this.#leap(bytes))
    // Not as a part of a stream where no character can be cut: for that, Node has a way that is several times as fast,
    // until it is asked otherwise for the first time.
    const stream = (bytes[fits - 1] as number) > LAST_ASCII
    this.#parser.feed(this.#decoder.decode(bytes.subarray(0, fits), stream ? { stream } : undefined))
    this.#flushPlace()
    if (fits < bytes.length) {
      throw new SseError('FRAME_TOO_LARGE', `One event of the stream is larger than ${this.#maxBytes} bytes`)
    }
  }

  /** The parser reports an id before the event it belongs to; alone is an id that no event followed. */
  #flushPlace(): void {
    if (this.#id === undefined) return
    const id = this.#id
    this.#id = undefined
    this.#to.place(id)
  }

  /** Counts bytes that cannot be too many, as far as that goes by leaps. Returns how many these are. */
  #leap(bytes: Uint8Array): number {
    let end = bytes.lastIndexOf(LF)
    while (end > 0 && bytes[end - 1] !== LF) end = bytes.lastIndexOf(LF, end - 1)
    const start = end > 0 ? end + 1 : 0
    if (start > 0) {
      this.#open = 0
      this.#last = LF
    }
    // Behind the last blank line, only a CR can make another; so can an LF at the very start.
    if (end === 0 || bytes.includes(CR, start)) return start
    this.#last = bytes[bytes.length - 1]
    this.#open += bytes.length - start
    return bytes.length
  }

  /**
   * Counts the bytes from `start` on. Returns how many of all may be parsed: all, or those up to the end of the last
   * block that fits.
   */
  #count(bytes: Uint8Array, start: number): number {
    let end = start
    for (let i = start; i < bytes.length; i++) {
      const byte = bytes[i]
      const last = this.#last
      this.#last = byte
      // CR LF is one break: where the CR has ended a block, the LF belongs to that.
      if (this.#open > 0 || byte !== LF || last !== CR) this.#open++
      if (this.#open > this.#maxBytes) return end
      if (byte === LF ? last === LF : byte === CR && (last === LF || last === CR)) this.#open = 0
      if (this.#open === 0) end = i + 1
    }
    return bytes.length
  }
}

/** How much is parsed before the reader looks whether it may go on. */
const PIECE_BYTES = 65_536

/** What decides, between two pieces, whether reading goes on. */
export interface Gate {
  readonly over: boolean
  /** Called before a piece is parsed. */
  before(piece: Uint8Array): void
  /** What to wait for before the next piece, if anything. */
  after(): Promise<void> | undefined
}

/** Reads a body to its end, or until the gate is over. */
export async function readBlocks(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  blocks: BlockReader,
  gate: Gate,
): Promise<void> {
  while (!gate.over) {
    const { done, value } = await reader.read()
    if (done) return
    for (let at = 0; at < value.length && !gate.over; at += PIECE_BYTES) {
      const piece = value.subarray(at, at + PIECE_BYTES)
      gate.before(piece)
      blocks.feed(piece)
      const room = gate.after()
      if (room !== undefined) await room
    }
  }
}
