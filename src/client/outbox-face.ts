import type { OutboxItem } from './outbox-message.js'
import type { OutboxListener, OutboxState } from './outbox-options.js'
import type { Receipt } from './outbox-receipt.js'

/** How one message is sent. */
export interface SendOptions {
  /**
   * Its idempotency key, 1 to 255 characters of printable ASCII: the server handles it once, however often it
   * arrives. Default: a new one.
   */
  key?: string | undefined
  /** Messages of one lane reach the server in order, one at a time; lanes do not wait for each other. Default: one lane for all. */
  lane?: string | undefined
  /**
   * `false`: one try, at once, beside all lanes, for what is stale a second later (stop, typing). It is not stored,
   * and while the outbox is paused or offline it ends with `EXPIRED`. Default: `true`.
   */
  retry?: boolean | undefined
}

/** What became of messages. All but `pending` only grow, and `enqueued` is always the sum of the others. */
export interface OutboxCounters {
  /** Taken in: by `send()`, or from the storage. A message that `send()` refused is not counted at all. */
  readonly enqueued: number
  /** In the outbox now. */
  readonly pending: number
  readonly accepted: number
  /** `REJECTED` */
  readonly rejected: number
  /** `UNCERTAIN` */
  readonly uncertain: number
  /** `EXPIRED` */
  readonly expired: number
  /** `RETRIES_EXHAUSTED` */
  readonly exhausted: number
  /** `CLOSED` */
  readonly closed: number
  /** `OUTBOX_FULL`: taken in, and given up for others. */
  readonly dropped: number
}

/** Messages on their way to a server, none of which disappears. Made by `createOutbox`. */
export interface Outbox extends AsyncDisposable {
  /**
   * Sends a message: a string as text, anything else as JSON. Resolves when the server accepted it (2xx). Otherwise
   * the promise is rejected, so catch it:
   *
   * | code | what happened |
   * | --- | --- |
   * | `REJECTED` | the server rejected it: `status`, and the answer as `cause` ({@link Rejection}), whose `mayHaveArrived` says whether an earlier attempt got no answer |
   * | `UNCERTAIN` | it was given up, and some attempt left and got no answer, or only a gateway's (502, 504) or that it is being handled (409): it may have arrived |
   * | `EXPIRED` | it was not accepted within `maxAgeMs`; with `retry: false`: it could not be sent |
   * | `RETRIES_EXHAUSTED` | `maxAttempts` answers said "later" |
   * | `CLOSED` | the outbox was closed; a message that is stored stays so, and the next outbox on that storage sends it, here as with `UNCERTAIN` |
   * | `OUTBOX_FULL` | it made room for another (`drop-oldest`), or the storage held enough to fill the outbox |
   *
   * @throws SseError at once, and the message was never taken in: `OUTBOX_FULL`, or `CLOSED`.
   * @throws TypeError when `data` is nothing that can be sent, or an option is not what it should be.
   */
  send(data: unknown, options?: SendOptions): Promise<Receipt>
  /** How many messages are in the outbox. What is in the storage for want of room is not counted. */
  readonly size: number
  readonly counters: OutboxCounters
  readonly state: OutboxState
  /** The messages in the outbox, in the order in which they came: a snapshot. */
  items(): OutboxItem[]
  /** Calls `listener` on every change, of the outbox or of a message, until the returned function is called. */
  onState(listener: OutboxListener): () => void
  /** Begins no further attempt. One that is under way goes on, and messages still grow old. */
  pause(): void
  /** Ends a `pause()`. */
  resume(): void
  /** Resolves when the outbox is empty, and so is what it knows of in the storage; at once when it is closed. */
  idle(): Promise<void>
  /**
   * Takes no more messages, waits up to `drainMs` for those it has, and ends the rest with `CLOSED` or `UNCERTAIN`.
   * Nothing is left behind. A second call may only shorten the wait.
   *
   * @param options.drainMs - milliseconds. Default: 0.
   */
  close(options?: { drainMs?: number | undefined }): Promise<void>
}
