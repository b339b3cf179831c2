import type { Message, MessageState } from './outbox-message.js'

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

type Ending = Exclude<keyof OutboxCounters, 'enqueued' | 'pending'>

const ENDINGS: Partial<Record<string, Ending>> = {
  REJECTED: 'rejected',
  UNCERTAIN: 'uncertain',
  EXPIRED: 'expired',
  RETRIES_EXHAUSTED: 'exhausted',
  CLOSED: 'closed',
  OUTBOX_FULL: 'dropped',
}

/** The messages that are in an outbox, what they weigh, and what became of the others. */
export class Ledger {
  readonly #messages = new Set<Message>()
  readonly #ended: Record<Ending, number> = {
    accepted: 0,
    rejected: 0,
    uncertain: 0,
    expired: 0,
    exhausted: 0,
    closed: 0,
    dropped: 0,
  }
  #enqueued = 0
  #bytes = 0
  #sending = 0

  get counters(): OutboxCounters {
    return { enqueued: this.#enqueued, pending: this.size, ...this.#ended }
  }

  get size(): number {
    return this.#messages.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** How many are in a request. */
  get sending(): number {
    return this.#sending
  }

  /** In the order in which they came. */
  get messages(): Message[] {
    return [...this.#messages]
  }

  add(message: Message): void {
    this.#messages.add(message)
    this.#enqueued++
    this.#bytes += message.body.bytes
  }

  moved(message: Message, before: MessageState): void {
    if (before === 'sending') this.#sending--
    if (message.state === 'sending') this.#sending++
    const { end } = message
    if (!end || !this.#messages.delete(message)) return
    this.#bytes -= message.body.bytes
    const ending = 'receipt' in end ? 'accepted' : ENDINGS[end.error.code]
    if (ending) this.#ended[ending]++
  }
}
