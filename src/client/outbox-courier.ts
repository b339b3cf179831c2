import { afterFailure, FIRST_RETRY_MS, parseRetryAfter } from './backoff.js'
import { type Gate, waitFor } from './outbox-gate.js'
import type { Message } from './outbox-message.js'
import type { OutboxSettings } from './outbox-options.js'
import { type PostResult, post } from './outbox-post.js'
import { answerOf, rejection, settles, verdictOn } from './outbox-receipt.js'

/** Wakes that come closer than this are held back, or a flapping network would make a hammer of them. */
const WAKE_SPACING_MS = 1_000

type Answered = Extract<PostResult, { is: 'answered' }>

/** What a message has used up, of what it gets once. */
interface Spent {
  refreshed: boolean
  reopened: boolean
  wokenAt: number
}

/** Brings messages to the server, each until it is over. */
export class Courier {
  readonly #settings: OutboxSettings
  readonly #gate: Gate

  constructor(settings: OutboxSettings, gate: Gate) {
    this.#settings = settings
    this.#gate = gate
  }

  /** Tries until the message is over. Never rejects. */
  async deliver(message: Message): Promise<void> {
    const spent: Spent = { refreshed: false, reopened: false, wokenAt: Number.NEGATIVE_INFINITY }
    await waitFor(message, (done) => {
      void message.kept.then(done)
      return () => {}
    })
    while (!message.over) {
      await this.#gate.pass(message)
      message.expireIfDue(this.#settings.clock)
      if (message.over) return
      const connection = this.#connection
      const result = await this.#attempt(message, connection)
      this.#note(message, result)
      if (message.over) return
      if (result.is !== 'answered') await this.#waitAfter(message, spent, 0)
      else await this.#follow(message, spent, result, connection)
    }
  }

  /** Tries once, and only if that can be now. Never rejects. */
  async tryOnce(message: Message): Promise<void> {
    if (message.over) return
    if (!this.#gate.isOpen) return message.giveUp('EXPIRED', 'It could not be sent at once')
    const result = await this.#attempt(message, this.#connection)
    this.#note(message, result)
    if (message.over) return
    if (result.is !== 'answered') return message.giveUp('EXPIRED', `Its one attempt failed: ${result.reason}`)
    const verdict = verdictOn(result.status, result.headers.get('retry-after'))
    if (verdict === 'accepted') this.#accept(message, result)
    else if (verdict !== 'retry') this.#reject(message, result)
    else message.giveUp('RETRIES_EXHAUSTED', `Its one attempt was answered with ${result.status}`)
  }

  /** One more request beside any that is under way, which outlives the page: mostly its answer comes to nobody. */
  async sendLast(message: Message): Promise<void> {
    if (message.over || !this.#gate.isOpen || message.notBefore > this.#settings.clock.now()) return
    message.attempts++
    const result = await this.#post(message, this.#connection, true)
    this.#note(message, result)
    if (result.is === 'answered' && verdictOn(result.status, null) === 'accepted') this.#accept(message, result)
  }

  get #connection(): string | null {
    return this.#settings.linked?.link.connection ?? null
  }

  async #attempt(message: Message, connection: string | null): Promise<PostResult> {
    message.attempts++
    message.go('sending')
    return this.#post(message, connection, false)
  }

  #post(message: Message, connection: string | null, keepalive: boolean): Promise<PostResult> {
    const { clock, timeoutMs } = this.#settings
    return post({
      clock,
      timeoutMs,
      signal: message.signal,
      headers: () => this.#write(message, connection),
      send: (headers, signal) => this.#send(message, headers, signal, keepalive),
    })
  }

  /** In one step with what is done about it: whoever ends the message before that knows of no answer. */
  #note(message: Message, result: PostResult): void {
    const isAnswered = result.is === 'answered'
    message.fault = isAnswered ? undefined : result.fault
    if (isAnswered && settles(result.status, result.headers.get('retry-after'))) message.unanswered--
  }

  #send(message: Message, headers: Headers, signal: AbortSignal, keepalive: boolean): Promise<Response> {
    const { url, fetch, credentials } = this.#settings
    message.unanswered++
    return fetch(url, {
      method: 'POST',
      body: message.body.text,
      headers,
      redirect: 'manual',
      // What outlives the page outlives the outbox, too: an app may close it just now.
      ...(keepalive ? { keepalive } : { signal }),
      ...(credentials !== undefined && { credentials }),
    })
  }

  async #write(message: Message, connection: string | null): Promise<Headers> {
    const headers = await this.#settings.headers.make()
    headers.set('content-type', message.body.type)
    headers.set('idempotency-key', message.key)
    if (connection !== null) headers.set('sse-connection', connection)
    return headers
  }

  /** Does what an answer calls for, and returns when it is time for the next attempt. */
  async #follow(message: Message, spent: Spent, answer: Answered, connection: string | null): Promise<void> {
    const retryAfter = answer.headers.get('retry-after')
    const verdict = verdictOn(answer.status, retryAfter)
    message.answers++
    switch (verdict) {
      case 'accepted':
        return this.#accept(message, answer)
      case 'rejected':
        return this.#reject(message, answer)
      case 'refresh':
        if (spent.refreshed || !(await this.#renewed(message))) return this.#reject(message, answer)
        spent.refreshed = true
        return
      case 'reopen':
        if (spent.reopened || !(await this.#reopened(message, connection))) return this.#reject(message, answer)
        spent.reopened = true
        return
      case 'retry':
        if (message.answers >= this.#settings.maxAttempts) {
          return message.giveUp('RETRIES_EXHAUSTED', `The last of ${message.answers} answers was ${answer.status}`)
        }
        return this.#waitAfter(message, spent, parseRetryAfter(retryAfter, this.#settings.clock.now()))
    }
  }

  #accept(message: Message, { status, headers, body }: Answered): void {
    const replayed = headers.get('idempotency-replayed') === 'true'
    message.accept({ ...answerOf(status, body), key: message.key, attempts: message.attempts, replayed })
  }

  #reject(message: Message, { status, body }: Answered): void {
    message.fail(rejection(answerOf(status, body), message.unanswered > 0))
  }

  async #waitAfter(message: Message, spent: Spent, retryAfterMs: number): Promise<void> {
    const { clock } = this.#settings
    const now = clock.now()
    message.go('waiting')
    message.failures++
    message.notBefore = now + retryAfterMs
    const delayMs = afterFailure(message.failures, Math.max(FIRST_RETRY_MS, retryAfterMs), Math.random())
    const soonestMs = Math.max(retryAfterMs, spent.wokenAt + WAKE_SPACING_MS - now)
    if (await this.#gate.sleep(message, delayMs, soonestMs)) spent.wokenAt = clock.now()
  }

  /** Has the headers made anew. Resolves with whether to try with them. */
  async #renewed(message: Message): Promise<boolean> {
    const { renew } = this.#settings.headers
    if (!renew) return false
    message.go('waiting')
    await waitFor(message, (done) => {
      // What fails here fails again where the headers are made, as an attempt that did not leave.
      void Promise.resolve().then(renew).then(done, done)
      return () => {}
    })
    return true
  }

  /** Has the stream opened anew, if the server does not know its connection. Resolves with whether to try once more. */
  async #reopened(message: Message, connection: string | null): Promise<boolean> {
    const { linked } = this.#settings
    if (!linked) return false
    const { stream, link } = linked
    if (stream.state === 'open') {
      // It has no name, and would have none again.
      if (link.connection === null) return false
      // Another message had it opened, or the stream came back by itself.
      if (link.connection !== connection) return true
    }
    message.go('waiting')
    await waitFor(message, (done) => {
      const detach = [link.onOpen(done), link.onClosed(() => void Promise.resolve().then(done))]
      link.reopen()
      return () => {
        for (const each of detach) each()
      }
    })
    return stream.state === 'open'
  }
}
