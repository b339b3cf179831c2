import { type Clock, systemClock } from '../protocol/clock.js'
import { SseError } from '../protocol/error.js'
import { bound, duration, show } from '../protocol/options.js'
import { ReceiptBook } from '../protocol/receipt-book.js'
import type { Claim, Lease, Receipts } from '../protocol/receipts.js'
import { fingerprint } from './fingerprint.js'
import { type Incoming, messageOf } from './message.js'
import { race } from './race.js'
import { Refusal } from './refusal.js'
import { reportTo } from './report.js'
import { type Answer, isResponse } from './serve.js'

/** What a handler is given beside the message. */
export interface MessageContext<Request> {
  readonly request: Request
  /** What the option `scope` said of this request; `''` without it. */
  readonly scope: string
  /** The message's `Idempotency-Key`: unique within its scope. */
  readonly key: string
  /**
   * Aborted when the client has gone. There is no need to stop: the answer is remembered, and the client gets it
   * when it tries again.
   */
  readonly signal: AbortSignal
}

/** An answer whose effect happens in the transaction that remembers it: both, or neither. */
export interface TransactionalReply<Transaction> {
  readonly answer?: object | string | number | boolean | null | undefined
  /** Does what the message asks for. Run only if the key is still ours. */
  commit(transaction: Transaction): void | Promise<void>
}

/** What a handler returns: something that JSON can hold, or nothing. */
export type Reply<Transaction> = TransactionalReply<Transaction> | object | string | number | boolean | null | undefined

/** Handles one message. */
export type MessageHandler<Request, Message, Transaction> = (
  message: Message,
  context: MessageContext<Request>,
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that is declared to return nothing is one, too.
) => Reply<Transaction> | void | Promise<Reply<Transaction> | void>

/** How messages are received. */
export interface ReceiveOptions<Request, Transaction = unknown> {
  /** Where it is remembered that a key was handled. Default: the memory of this process, `memoryReceipts()`, for this handler alone. */
  receipts?: Receipts<Transaction> | undefined
  /**
   * Whose key it is: nobody sees the answers of another scope. The place to authorise, too: what it throws becomes
   * the answer. Default: one scope for all, which is right only where all clients may see each other's answers.
   */
  scope?: ((request: Request) => string | Promise<string>) | undefined
  /**
   * How long a key stays taken by a handler that does not end, in milliseconds. Must be longer than the slowest
   * handler: after it, the message may be handled once more. Default: 60,000.
   */
  leaseMs?: number | undefined
  /** The largest body. Default: 1 MiB. */
  maxBodyBytes?: number | undefined
  /** How long the body may take to arrive, in milliseconds. Default: 15,000. */
  bodyTimeoutMs?: number | undefined
  /** Told of errors that have no other way out: those of the receipts, for one. Default: `console.error`. */
  onError?: ((error: unknown) => void) | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

/** Handles each message once per scope and key, and answers its repetitions alike. */
export class Receiver<Request, Message, Transaction> {
  readonly clock: Clock
  readonly bodyTimeoutMs: number
  readonly #handler: MessageHandler<Request, Message, Transaction>
  readonly #receipts: Receipts<Transaction>
  readonly #scope: (request: Request) => string | Promise<string>
  readonly #leaseMs: number
  readonly #maxBodyBytes: number
  readonly #onError: ((error: unknown) => void) | undefined

  constructor(
    handler: MessageHandler<Request, Message, Transaction>,
    options: ReceiveOptions<Request, Transaction> = {},
  ) {
    if (typeof handler !== 'function') {
      throw new TypeError(`Expected a function that handles a message, got ${show(handler)}`)
    }
    const { receipts, scope } = options
    if (receipts !== undefined && typeof receipts?.claim !== 'function') {
      throw new TypeError(`Expected \`receipts\` to be receipts such as memoryReceipts(), got ${show(receipts)}`)
    }
    if (scope !== undefined && typeof scope !== 'function') {
      throw new TypeError(`Expected \`scope\` to be a function that names whose key it is, got ${show(scope)}`)
    }
    this.clock = options.clock ?? systemClock
    this.bodyTimeoutMs = duration('bodyTimeoutMs', options.bodyTimeoutMs, 15_000)
    this.#handler = handler
    this.#receipts = receipts ?? new ReceiptBook({ clock: this.clock })
    this.#scope = scope ?? (() => '')
    this.#leaseMs = duration('leaseMs', options.leaseMs, 60_000)
    this.#maxBodyBytes = bound('maxBodyBytes', options.maxBodyBytes, 1024 * 1024)
    this.#onError = options.onError
  }

  /** Answers one request. Rejects with what the scope or the handler threw: its key is free then. */
  async answer(request: Request, incoming: Incoming): Promise<Answer> {
    try {
      const key = keyOf(incoming)
      const scope = await this.#scope(request)
      if (typeof scope !== 'string') {
        throw new TypeError(`Expected \`scope\` to return a string, got ${show(scope)}`)
      }
      // Before the key is claimed, so that an upload that stalls holds nothing.
      const { clock, bodyTimeoutMs } = this
      const message = await messageOf(incoming, { clock, bodyTimeoutMs, maxBodyBytes: this.#maxBodyBytes })
      const claim = await this.#claim(scope, key, fingerprint(message.text))
      if (claim.state === 'done') return answerOf(claim.answer, { 'idempotency-replayed': 'true' })
      if (claim.state === 'mismatch') throw new Refusal(422, 'This key was used with another body.')
      if (claim.state === 'busy') throw inFlight(claim)
      const { signal } = incoming
      return await this.#handle(claim.lease, message.value as Message, { request, scope, key, signal })
    } catch (error) {
      incoming.stop()
      if (error instanceof Refusal) return error.answer
      throw error
    }
  }

  async #claim(scope: string, key: string, print: string): Promise<Claim> {
    try {
      const late = () => new SseError('STORE_UNAVAILABLE', 'The receipts did not answer within a lease.')
      const claimed = async () => this.#receipts.claim(scope, key, print, this.#leaseMs)
      return await race(claimed(), { clock: this.clock, ms: this.#leaseMs, late })
    } catch (error) {
      const full = error instanceof SseError && error.code === 'OVERLOADED'
      if (!full) reportTo(this.#onError, error)
      const retryAfter = String(1 + Math.floor(Math.random() * 5))
      throw new Refusal(503, full ? 'OVERLOADED' : 'STORE_UNAVAILABLE', { 'retry-after': retryAfter })
    }
  }

  async #handle(lease: Lease, message: Message, context: MessageContext<Request>): Promise<Answer> {
    let answer: string | null
    let ours: boolean
    try {
      const reply = await this.#handler(message, context)
      if (isTransactional<Transaction>(reply)) {
        answer = encodeAnswer(reply.answer)
        ours = await this.#commit(lease, answer, reply)
      } else {
        answer = this.#encoded(reply)
        ours = await this.#complete(lease, answer)
      }
    } catch (error) {
      await this.#release(lease)
      throw error
    }
    if (ours) return answerOf(answer, {})
    // Whoever took the key over has the one answer that repetitions get; so shall this client.
    throw new Refusal(409, 'Handling took longer than its lease, and another attempt took over.', {
      'retry-after': '1',
    })
  }

  #commit(lease: Lease, answer: string | null, reply: TransactionalReply<Transaction>): boolean | Promise<boolean> {
    if (!this.#receipts.commit) {
      throw new TypeError(
        'Expected `receipts` with transactions, such as those of a database, for a handler that returns `commit`. ' +
          'Return the answer alone, or pass such receipts.',
      )
    }
    return this.#receipts.commit(lease, answer, (transaction) => reply.commit(transaction))
  }

  /** The effect has happened: to free the key for a fault of the answer would let it happen at every try. */
  #encoded(reply: unknown): string | null {
    try {
      return encodeAnswer(reply)
    } catch (error) {
      reportTo(this.#onError, error)
      return null
    }
  }

  /** The effect has happened: when that cannot be remembered, to say so would make the client send it again. */
  async #complete(lease: Lease, answer: string | null): Promise<boolean> {
    try {
      return await this.#receipts.complete(lease, answer)
    } catch (error) {
      reportTo(this.#onError, error)
      return true
    }
  }

  async #release(lease: Lease): Promise<void> {
    try {
      await this.#receipts.release(lease)
    } catch (error) {
      // The end of its lease frees the key.
      reportTo(this.#onError, error)
    }
  }
}

function keyOf(incoming: Incoming): string {
  if (incoming.method !== 'POST') throw new Refusal(405, 'Expected a POST.', { allow: 'POST' })
  const key = incoming.header('idempotency-key')
  if (key === undefined || !/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw new Refusal(400, 'Expected the header Idempotency-Key, with 1 to 255 characters of printable ASCII.')
  }
  return key
}

function isTransactional<T>(reply: unknown): reply is TransactionalReply<T> {
  return typeof reply === 'object' && reply !== null && 'commit' in reply && typeof reply.commit === 'function'
}

function encodeAnswer(answer: unknown): string | null {
  if (answer === undefined) return null
  if (isResponse(answer)) {
    throw new TypeError('Expected an answer that JSON can hold, got a Response. Throw it, if the message is refused.')
  }
  const json = JSON.stringify(answer)
  if (json === undefined) throw new TypeError(`Expected an answer that JSON can hold, got ${show(answer)}`)
  return json
}

function answerOf(json: string | null, headers: Record<string, string>): Answer {
  return json === null
    ? { kind: 'answer', status: 204, headers, body: '' }
    : { kind: 'answer', status: 200, headers: { ...headers, 'content-type': 'application/json' }, body: json }
}

/** The longer it has been handled, the longer the wait: a few repetitions outlast a lease. */
function inFlight({ heldMs, leftMs }: { heldMs: number; leftMs: number }): Refusal {
  const seconds = Math.max(1, Math.ceil(Math.min(heldMs, leftMs) / 1000))
  return new Refusal(409, 'This message is being handled.', { 'retry-after': String(seconds) })
}
