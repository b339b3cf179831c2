import type { Clock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import type { Body } from './outbox-body.js'
import { type Receipt, reason } from './outbox-receipt.js'

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

/** The server accepted the message, or it failed. */
export type MessageEnd = { readonly receipt: Receipt } | { readonly error: SseError }

/** What a message is made of. */
export interface MessageParts extends Body {
  readonly key: string
  readonly lane: string | null
  readonly enqueuedAt: number
  readonly restored: boolean
  /** The name under which it is stored. */
  readonly name?: string | undefined
}

/** One message on its way: it ends once, and whatever waits for it or works on it hears of that by its signal. */
export interface Message {
  /** What is shown of it. */
  readonly item: { -readonly [K in keyof OutboxItem]: OutboxItem[K] }
  readonly type: Body['type']
  readonly bytes: number
  readonly receipt: Promise<Receipt>
  /** Aborted when it is over. */
  readonly signal: AbortSignal
  /** Resolves when it is over. */
  readonly ended: Promise<void>
  readonly over: boolean
  /** Nothing of its lane is before it. */
  isFirst?: boolean
  /** Resolves when it is stored, or cannot be. */
  kept?: Promise<unknown>
  name?: string | undefined
  isStored: boolean
  /** It is over, and shall not stay in the storage, or get there. */
  isForgotten?: boolean
  /** The server asked not to be asked before this time. */
  notBefore: number
  /** How many requests left and got no answer that settles what became of them, those under way included. */
  unanswered: number
  /** What the last attempt failed of, if it did. */
  because?: ErrorOptions
  go(state: 'sending' | 'waiting'): void
  end(how: MessageEnd): void
  /** Ends it with the code, unless the server may have it: then with `UNCERTAIN`. */
  giveUp(code: GivenUp, why: string): void
  /** A timer may come late, and no attempt shall slip through before it: no receipt may know of it any more. */
  expireIfDue(): void
}

/**
 * A message that expires when its age is reached, whatever it waits for then: nothing is sent for ever.
 *
 * @param changed - is told of every change of its state, with the state before.
 */
export function makeMessage(
  { type, bytes, name, ...parts }: MessageParts,
  { clock, maxAgeMs }: { readonly clock: Clock; readonly maxAgeMs: number },
  changed: (message: Message, before: MessageState) => void,
): Message {
  const controller = new AbortController()
  const { signal } = controller
  const item: Message['item'] = { ...parts, state: 'queued', attempts: 0 }
  const dueAt = item.enqueuedAt + maxAgeMs
  const cancelExpiry = clock.setTimeout(expire, dueAt - clock.now())

  function change(state: MessageState): void {
    const before = item.state
    item.state = state
    changed(message, before)
  }

  function expire(): void {
    message.giveUp('EXPIRED', 'It was not accepted within `maxAgeMs`')
  }

  const message: Message = {
    item,
    type,
    bytes,
    name,
    signal,
    isStored: item.restored,
    notBefore: 0,
    // Nobody knows what the page before did with it.
    unanswered: Number(item.restored),
    ended: new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    receipt: new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => (item.receipt ? resolve(item.receipt) : reject(item.error)))
    }),
    get over() {
      return signal.aborted
    },
    go: change,
    end(how) {
      if (signal.aborted) return
      Object.assign(item, how)
      controller.abort()
      cancelExpiry()
      change(item.error ? 'failed' : 'accepted')
    },
    giveUp(code, why) {
      const mayHaveArrived = message.unanswered > 0
      const error = new SseError(mayHaveArrived ? 'UNCERTAIN' : code, reason(why, mayHaveArrived), message.because)
      message.end({ error })
    },
    expireIfDue() {
      if (clock.now() >= dueAt) expire()
    },
  }
  if (item.restored) message.receipt.catch(() => {}) // there is nobody else who could
  return message
}
