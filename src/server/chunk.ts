/**
 * Chunks of HTTP/1.1: a size in hexadecimal, a line break, the bytes, a line break. Framed once and shared, for Node
 * frames each write anew.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */

declare const Buffer: { allocUnsafeSlow(length: number): Uint8Array } | undefined

const CR = 13
const LF = 10

/** `bytes` as one chunk. There must be some: the chunk of none ends a response. */
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
export function payloadOf(chunk: Uint8Array, length: number): Uint8Array {
  const begin = chunk.length - 2 - length
  return chunk.subarray(begin, begin + length)
}

/** What Node writes without wrapping it first, and not out of the pool, which one block would keep alive. */
function allocate(length: number): Uint8Array {
  return typeof Buffer === 'undefined' ? new Uint8Array(length) : Buffer.allocUnsafeSlow(length)
}
