import type { Settings } from './options.js'
import type { RequestHeaders } from './request-headers.js'

/** No client speaks more often than this. */
const SPACING_MS = 1_000

/** The stream whose consumer is spoken of. */
export interface Acknowledged {
  /** What the server calls the open connection; `null` while there is none. */
  readonly connection: string | null
  /** The place behind which the consumer has finished everything. */
  readonly cursor: string | null
}

/**
 * Tells the server what the consumer has finished: when there is something new to say to the open connection, and at
 * most once a second. Nothing is said twice, and nobody waits for it: what is lost on the way is superseded by what
 * comes next.
 */
export class Acks {
  readonly #url: string
  readonly #of: Acknowledged
  readonly #headers: RequestHeaders
  readonly #settings: Settings
  readonly #forget: () => void
  /** What was said last, and to whom. */
  #said: Acknowledged = { connection: null, cursor: null }
  #saidAt = Number.NEGATIVE_INFINITY
  #cancelTimer: (() => void) | undefined
  #sending: AbortController | undefined
  #closed = false

  constructor(url: string, of: Acknowledged, headers: RequestHeaders, settings: Settings) {
    this.#url = url
    this.#of = of
    this.#headers = headers
    this.#settings = settings
    this.#forget = onPageHide(() => this.#flush())
  }

  /** The consumer asked for the next item, or another connection is open. Cheap: it is called for every item. */
  moved(): void {
    if (this.#cancelTimer || this.#sending || this.#closed || !this.#hasNews()) return
    const { clock } = this.#settings
    // A crowd that was handed the same event shall not answer as one.
    const delayMs = Math.max(this.#saidAt + SPACING_MS - clock.now(), Math.random() * SPACING_MS)
    this.#cancelTimer = clock.setTimeout(
      () => {
        this.#cancelTimer = undefined
        if (this.#hasNews()) void this.#send(false)
      },
      delayMs,
      // A process that has nothing else to do need not stay for this.
      false,
    )
  }

  /** Nothing is said any more: with its response, the server has forgotten the connection. */
  close(): void {
    this.#closed = true
    this.#forget()
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#sending?.abort()
  }

  #hasNews(): boolean {
    const { connection, cursor } = this.#of
    return connection !== null && (connection !== this.#said.connection || cursor !== this.#said.cursor)
  }

  /** The page goes, and takes with it what is under way. */
  #flush(): void {
    const { connection } = this.#of
    const isLost = this.#sending !== undefined && connection !== null
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#sending?.abort()
    if (isLost || this.#hasNews()) void this.#send(true)
  }

  async #send(keepalive: boolean): Promise<void> {
    const { clock, connectTimeoutMs } = this.#settings
    const { connection, cursor } = this.#of
    const sending = new AbortController()
    this.#sending = sending
    this.#said = { connection, cursor }
    this.#saidAt = clock.now()
    const cancelDeadline = clock.setTimeout(() => sending.abort(), connectTimeoutMs, false)
    try {
      await orAborted(this.#post(JSON.stringify({ connection, cursor }), keepalive, sending.signal), sending.signal)
    } catch {
      // Nothing depends on it.
    } finally {
      cancelDeadline()
      if (this.#sending === sending) {
        this.#sending = undefined
        this.moved()
      }
    }
  }

  async #post(body: string, keepalive: boolean, signal: AbortSignal): Promise<void> {
    const headers = await this.#headers.make()
    signal.throwIfAborted()
    headers.set('content-type', 'application/json')
    const { fetch, init } = this.#settings
    const { credentials } = init
    const response = await fetch(this.#url, {
      method: 'POST',
      headers,
      body,
      signal,
      ...(credentials && { credentials }),
      ...(keepalive && { keepalive }),
    })
    await response.body?.cancel()
  }
}

function onPageHide(flush: () => void): () => void {
  const scope = globalThis as Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>
  scope.addEventListener?.('pagehide', flush)
  return () => scope.removeEventListener?.('pagehide', flush)
}

/** The user's functions may be deaf to the signal. */
function orAborted(given: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    given.then(resolve, reject)
  })
}
