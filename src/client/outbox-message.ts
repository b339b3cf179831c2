import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { Body } from './outbox-body.js'
import type { Receipt } from './outbox-receipt.js'

/**
 * Where a message is: behind others of its lane, in a request, between two requests, or at its end.
 */
export type MessageState = 'queued' | 'sending' | 'waiting' | 'accepted' | 'failed'

/** A message as a user interface may show it: a snapshot. */
export interface OutboxItem {
  /** Its idempotency key. */
  readonly key: string
  /** `null` for a message that was sent with `retry: false`. */
  readonly lane: string | null
  readonly state: MessageState
  /** How many requests were begun for it. */
  readonly attempts: number
  /** What is sent: the text, or JSON. */
  readonly body: string
  /** When it was first given to an outbox, in milliseconds since the Unix epoch. */
  readonly enqueuedAt: number
  /** It comes from the storage: whoever sent it is gone, and nobody holds the promise of its receipt. */
  readonly restored: boolean
  /** With `accepted`. */
  readonly receipt?: Receipt | undefined
  /** With `failed`: what the promise of its `send()` was rejected with. */
  readonly error?: SseError | undefined
}

/** What ends a message that the server neither accepted nor rejected. */
export type GivenUp = 'EXPIRED' | 'RETRIES_EXHAUSTED' | 'CLOSED' | 'OUTBOX_FULL'

export type MessageEnd = { readonly receipt: Receipt } | { readonly error: SseError }

/** What a message is made of. */
export interface MessageParts {
  readonly key: string
  readonly lane: string | null
  readonly body: Body
  readonly enqueuedAt: number
  readonly restored: boolean
  /** The name under which it is to be stored, or is. */
  readonly name?: string | undefined
}

const NO_ANSWER = 'an attempt got no answer that says what became of it'

interface Listener {
  changed(message: Message, before: MessageState): void
}

/** One message on its way: it ends once, and whatever waits for it or works on it hears of that by its signal. */
export class Message implements MessageParts {
  readonly key: string
  readonly lane: string | null
  readonly body: Body
  readonly enqueuedAt: number
  readonly restored: boolean
  readonly receipt: Promise<Receipt>
  /** Resolves when it is stored, or cannot be. */
  kept: Promise<void> = Promise.resolve()
  name: string | undefined
  isStored: boolean
  /** It is over, and shall not stay in the storage, or get there. */
  isForgotten = false
  attempts = 0
  /** How many attempts were answered. */
  answers = 0
  /** How many attempts failed in a row. */
  failures = 0
  /** The server asked not to be asked before this time. */
  notBefore = Number.NEGATIVE_INFINITY
  /** How many requests left and got no answer that settles what became of them, those under way included. */
  unanswered: number
  /** What the last attempt failed of, if it did. */
  fault: unknown
  readonly #over = new AbortController()
  readonly #listener: Listener
  #settle: (end: MessageEnd) => void = () => {}
  #deadline = Number.POSITIVE_INFINITY
  #cancelExpiry = () => {}
  #state: MessageState = 'queued'
  #end: MessageEnd | undefined

  constructor(parts: MessageParts, listener: Listener) {
    this.key = parts.key
    this.lane = parts.lane
    this.body = parts.body
    this.enqueuedAt = parts.enqueuedAt
    this.restored = parts.restored
    this.name = parts.name
    this.isStored = parts.restored
    // Nobody knows what the page before did with it.
    this.unanswered = parts.restored ? 1 : 0
    this.#listener = listener
    this.receipt = new Promise((resolve, reject) => {
      this.#settle = (end) => ('receipt' in end ? resolve(end.receipt) : reject(end.error))
    })
    if (parts.restored) this.receipt.catch(() => {}) // there is nobody else who could
  }

  get state(): MessageState {
    return this.#state
  }

  get over(): boolean {
    return this.#end !== undefined
  }

  get end(): MessageEnd | undefined {
    return this.#end
  }

  /** Aborted when it is over. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Whatever it waits for then: nothing is sent for ever. */
  expireAfter(ms: number, clock: Clock): void {
    if (this.over) return
    this.#deadline = clock.now() + ms
    this.#cancelExpiry = clock.setTimeout(() => this.#expire(), ms)
    this.expireIfDue(clock)
  }

  /** A timer may come late, and no attempt shall slip through before it: no receipt may know of it any more. */
  expireIfDue(clock: Clock): void {
    if (clock.now() >= this.#deadline) this.#expire()
  }

  go(state: 'queued' | 'sending' | 'waiting'): void {
    if (!this.over && this.#state !== state) this.#change(state)
  }

  accept(receipt: Receipt): void {
    this.#finish('accepted', { receipt })
  }

  fail(error: SseError): void {
    this.#finish('failed', { error })
  }

  /** Ends it with the code, unless the server may have it: then with `UNCERTAIN`. */
  giveUp(code: GivenUp, why: string): void {
    const because = this.fault === undefined ? {} : { cause: this.fault }
    const error =
      this.unanswered === 0
        ? new SseError(code, `${why}.`, because)
        : new SseError('UNCERTAIN', `${why}, and ${NO_ANSWER}: the message may have arrived.`, because)
    this.fail(error)
  }

  snapshot(): OutboxItem {
    const { key, lane, state, attempts, enqueuedAt, restored } = this
    return { key, lane, state, attempts, body: this.body.text, enqueuedAt, restored, ...this.#end }
  }

  #expire(): void {
    this.giveUp('EXPIRED', 'It was not accepted within `maxAgeMs`')
  }

  #finish(state: 'accepted' | 'failed', end: MessageEnd): void {
    if (this.over) return
    this.#end = end
    this.#cancelExpiry()
    this.#settle(end)
    this.#change(state)
    this.#over.abort()
  }

  #change(state: MessageState): void {
    const before = this.#state
    this.#state = state
    this.#listener.changed(this, before)
  }
}
