/** A web handler: what `sse` of `steady-sse/web` returns, or any other. */
export type Handler = (request: Request) => Response | Promise<Response>

/** One scripted answer. */
export interface ScriptedAnswer {
  readonly status: number
  readonly headers?: Record<string, string> | undefined
  readonly body?: string | undefined
}

/**
 * What a network does to a request and its response. Faults are data, and compose: each acts on what the one
 * before it lets through. `afterBytes` counts bytes of the body.
 */
export type Fault =
  /** The response trickles. */
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  /** Nothing follows after so many bytes, and nothing ends. */
  | { readonly kind: 'stalled'; readonly afterBytes: number }
  /** A proxy holds head and body until it has so many bytes, again and again; with `Infinity`, until the end. */
  | { readonly kind: 'buffering'; readonly bytes: number }
  /** A proxy passes each chunk on only when the next one comes. */
  | { readonly kind: 'holdLast' }
  /** The connection is cut: in the head, or after so many bytes. `orderly`: it looks like a proper end. */
  | { readonly kind: 'dropping'; readonly afterBytes: 'head' | number; readonly orderly?: boolean | undefined }
  /** After so many bytes nothing passes in either direction, and neither side is told. */
  | { readonly kind: 'halfOpen'; readonly afterBytes: number }
  /** The connection is reset after so many milliseconds without a byte. */
  | { readonly kind: 'idle'; readonly ms: number }
  /** The response ends properly after so many milliseconds. */
  | { readonly kind: 'flap'; readonly ms: number }
  /** Bytes come in pieces of this size; without one, of random sizes from 1 to 7. */
  | { readonly kind: 'split'; readonly bytes?: number | undefined }
  /** A proxy compresses without flushing: bytes leave it in blocks of 16 KiB, or at the end. */
  | { readonly kind: 'gzip' }
  /** A header of the request is lost on the way. */
  | { readonly kind: 'strip'; readonly header: string }
  /** The next requests are answered by script; after that, by the handler. */
  | { readonly kind: 'status'; readonly answers: readonly ScriptedAnswer[] }
  /** The server handles the request, and its answer is lost. */
  | { readonly kind: 'duplicate' }
  /** The server is another from now on: one that forgot, or came back with an old copy. */
  | { readonly kind: 'restart'; readonly to: Handler }
