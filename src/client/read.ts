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

/** Decodes and parses the bytes of one response, whatever pieces they come in. */
export class BlockReader {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true }) // the parser strips the one it must
  readonly #parser: { feed(text: string): void }
  readonly #meter: BlockMeter
  readonly #to: BlockReceiver
  #id: string | undefined

  constructor(maxEventBytes: number, to: BlockReceiver) {
    this.#to = to
    this.#meter = new BlockMeter(maxEventBytes)
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

  /** @throws SseError `FRAME_TOO_LARGE`, after the blocks before the one that is too large were received. */
  feed(bytes: Uint8Array): void {
    const meter = this.#meter
    const isTight = meter.wouldExceed(bytes.length)
    const fits = isTight ? meter.walk(bytes) : bytes.length
    const text = this.#decoder.decode(isTight ? bytes.subarray(0, fits) : bytes, { stream: true })
    if (!isTight) meter.pass(bytes, text.includes('\r'))
    this.#parser.feed(text)
    this.#flushPlace()
    if (fits === bytes.length) return
    throw new SseError('FRAME_TOO_LARGE', `One event of the stream is larger than ${meter.max} bytes`)
  }

  /** The parser reports an id before the event it belongs to; alone is an id that no event followed. */
  #flushPlace(): void {
    if (this.#id === undefined) return
    const id = this.#id
    this.#id = undefined
    this.#to.place(id)
  }
}

const LF = 10
const CR = 13

/** Counts the bytes of the open block: every field, comments and unfinished lines included. */
class BlockMeter {
  readonly max: number
  #open = 0
  #lineIsEmpty = true
  #afterCr = false

  constructor(max: number) {
    this.max = max
  }

  /** Whether this many bytes more could be too many, if no block ended among them. */
  wouldExceed(length: number): boolean {
    return this.#open + length > this.max
  }

  /** Counts bytes that cannot be too many. The caller knows whether a CR is among them: to look is cheaper in text. */
  pass(bytes: Uint8Array, hasCr: boolean): void {
    if (hasCr || this.#afterCr) this.walk(bytes)
    else this.#leap(bytes)
  }

  /** Lines end in LF, so only the end of the last block matters. */
  #leap(bytes: Uint8Array): void {
    let end = bytes.length - 1
    while (end >= 0 && !(bytes[end] === LF && (end > 0 ? bytes[end - 1] === LF : this.#lineIsEmpty))) end--
    this.#open = end < 0 ? this.#open + bytes.length : bytes.length - 1 - end
    if (bytes.length > 0) this.#lineIsEmpty = bytes[bytes.length - 1] === LF
  }

  /** Returns how many of `bytes` may be parsed: all, or those up to the end of the last block that fits. */
  walk(bytes: Uint8Array): number {
    let end = 0
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]
      if (byte === LF && this.#afterCr) {
        this.#afterCr = false
        if (this.#open > 0) this.#open++
        else end = i + 1
      } else {
        this.#open++
        this.#afterCr = byte === CR
        const isBreak = byte === CR || byte === LF
        if (isBreak && this.#lineIsEmpty) {
          if (this.#open > this.max) return end
          this.#open = 0
          end = i + 1
        }
        this.#lineIsEmpty = isBreak
      }
      if (this.#open > this.max) return end
    }
    return bytes.length
  }
}

/** How much is parsed before the reader looks whether it may go on. */
const PIECE_BYTES = 65_536

/** What decides, between two pieces, whether reading goes on. */
export interface Gate {
  readonly over: boolean
  /** Bytes arrived. */
  heard(): void
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
    if (done || gate.over) return
    gate.heard()
    for (let at = 0; at < value.length && !gate.over; at += PIECE_BYTES) {
      const piece = value.subarray(at, at + PIECE_BYTES)
      gate.before(piece)
      blocks.feed(piece)
      const room = gate.after()
      if (room !== undefined) await room
    }
  }
}
