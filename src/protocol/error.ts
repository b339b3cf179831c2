/**
 * What can go wrong while running. Misuse (a bad option, a line break in an event name) is a
 * `TypeError` instead.
 *
 * | code | meaning |
 * | --- | --- |
 * | `CLOSED` | the target, the client or the hub is closed |
 * | `WRITE_TIMEOUT` | the peer took nothing for the write deadline; its connection was destroyed |
 * | `FRAME_TOO_LARGE` | one event is larger than the bound |
 * | `JOIN_TIMEOUT` | the subscription was not confirmed in time |
 * | `STORE_UNAVAILABLE` | the store failed; its error is the `cause`. Lost amid a publish: the event may or may not be stored |
 * | `PUBLISH_TIMEOUT` | the store did not confirm in time: the event may or may not be stored |
 * | `SEALED` | the stream is complete and takes no more events |
 * | `OVERLOADED` | a bound is reached: too much un-awaited, or too many streams |
 * | `HTTP_STATUS` | the server refused; see `status` |
 * | `NOT_AN_EVENT_STREAM` | the answer is no event stream |
 * | `OUTBOX_FULL` | the outbox takes no more messages |
 * | `REJECTED` | the server rejected this message |
 * | `EXPIRED` | the message was not accepted in time |
 * | `RETRIES_EXHAUSTED` | every attempt was answered with a failure |
 * | `UNCERTAIN` | an attempt left and got no answer: the message may have arrived |
 */
export type SseErrorCode =
  | 'CLOSED'
  | 'WRITE_TIMEOUT'
  | 'FRAME_TOO_LARGE'
  | 'JOIN_TIMEOUT'
  | 'STORE_UNAVAILABLE'
  | 'PUBLISH_TIMEOUT'
  | 'SEALED'
  | 'OVERLOADED'
  | 'HTTP_STATUS'
  | 'NOT_AN_EVENT_STREAM'
  | 'OUTBOX_FULL'
  | 'REJECTED'
  | 'EXPIRED'
  | 'RETRIES_EXHAUSTED'
  | 'UNCERTAIN'

const BRAND: unique symbol = Symbol.for('steady-sse: error')

/**
 * The one error class of the library: a condition met while running, told apart by its `code`.
 *
 * @example
 * ```ts
 * try {
 *   await hub.publish('news', { data: 'hello' })
 * } catch (error) {
 *   if (error instanceof SseError && error.code === 'SEALED') return
 *   throw error
 * }
 * ```
 */
export class SseError extends Error {
  override readonly name = 'SseError'
  readonly code: SseErrorCode
  /** The HTTP status, with the codes `HTTP_STATUS` and `REJECTED`. */
  readonly status: number | undefined

  constructor(code: SseErrorCode, message: string, options: { cause?: unknown; status?: number | undefined } = {}) {
    super(message, options)
    this.code = code
    this.status = options.status
  }

  /** True for those of other copies of the package too: a bundler may make one for each route of a process. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && BRAND in value
  }

  /** @internal */
  get [BRAND](): true {
    return true
  }
}
