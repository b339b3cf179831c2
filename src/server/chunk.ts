/**
 * Chunks of HTTP/1.1: a size in hexadecimal, a line break, the bytes, a line break. Framed once and shared, for Node
 * frames each write anew.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */

declare const Buffer: { allocUnsafeSlow(length: number): Uint8Array } | undefined

const CR = 13
const LF = 10

const encoder = new TextEncoder()
/** Where text is encoded before its size is known; made with the first text. Enough for a block of text beyond ASCII. */
const SCRATCH_BYTES = 3 * 64 * 1024
let scratch: Uint8Array | undefined

/** `text` as one chunk. Encoded in place: to make an array first, for each block, took half as long again. */
export function chunkOfText(text: string): Uint8Array {
  // A character takes at most three bytes.
  if (text.length * 3 > SCRATCH_BYTES) return chunkOf(encoder.encode(text))
  scratch ??= new Uint8Array(SCRATCH_BYTES)
  return chunkOf(scratch.subarray(0, encoder.encodeInto(text, scratch).written))
}

/** `bytes` as one chunk, copied. There must be some: the chunk of none ends a response. */
export function chunkOf(bytes: Uint8Array): Uint8Array {
  const size = bytes.length.toString(16)
  const chunk = allocate(size.length + bytes.length + 4)
  for (let at = 0; at < size.length; at++) chunk[at] = size.charCodeAt(at)
  chunk[size.length] = CR
  chunk[size.length + 1] = LF
  chunk.set(bytes, size.length + 2)
  chunk[chunk.length - 2] = CR
  chunk[chunk.length - 1] = LF
  return chunk
}

/** The bytes in a chunk, not copied. */
export function payloadOf(chunk: Uint8Array): Uint8Array {
  return chunk.subarray(chunk.indexOf(LF) + 1, chunk.length - 2)
}

/** What Node writes without wrapping it first, and not out of the pool, which one block would keep alive. */
function allocate(length: number): Uint8Array {
  return typeof Buffer === 'undefined' ? new Uint8Array(length) : Buffer.allocUnsafeSlow(length)
}
