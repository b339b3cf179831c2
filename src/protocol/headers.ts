/**
 * The head of a stream's response, as plain header fields in lower case.
 *
 * `no-transform` and `x-accel-buffering` ask proxies neither to compress nor to hold the stream.
 * There is no `transfer-encoding`, which HTTP/2 forbids, and no `connection`, which the HTTP/1
 * adapters add.
 *
 * @example
 * ```ts
 * res.writeHead(200, sseHeaders())
 * res.flushHeaders()
 * ```
 */
export function sseHeaders(): Record<string, string> {
  return {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  }
}
