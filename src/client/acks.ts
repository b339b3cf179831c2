import type { Context } from './attempt.js'
import { listen } from './wake.js'

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
  readonly #of: Acknowledged & Context
  readonly #forget = listen(globalThis, 'pagehide', () => this.#flush())
  /** What was said last, and to whom. */
  #said: Acknowledged = { connection: null, cursor: null }
  #saidAt = 0
  /** Ends the wait or the request that is under way. */
  #stop: (() => void) | undefined

  constructor(url: string, of: Acknowledged & Context) {
    this.#url = url
    this.#of = of
  }

  /** The consumer asked for the next item, or another connection is open. Cheap: it is called for every item. */
  moved(): void {
    if (this.#stop || !this.#hasNews()) return
    const { clock } = this.#of.settings
    // A crowd that was handed the same event shall not answer as one.
    const delayMs = Math.max(this.#saidAt + SPACING_MS - clock.now(), Math.random() * SPACING_MS)
    // A process that has nothing else to do need not stay for this.
    this.#stop = clock.setTimeout(() => this.#send(), delayMs, false)
  }

  /** Nothing is said any more: with its response, the server has forgotten the connection. */
  close(): void {
    this.#forget()
    this.#interrupt(() => {})
  }

  #hasNews(): boolean {
    const { connection, cursor } = this.#of
    return connection !== null && (connection !== this.#said.connection || cursor !== this.#said.cursor)
  }

  /** The page goes, and takes with it what is under way. */
  #flush(): void {
    this.#interrupt()
    this.#send({ keepalive: true })
  }

  #interrupt(by?: () => void): void {
    const stop = this.#stop
    this.#stop = by
    stop?.()
  }

  #send(extra: RequestInit = {}): void {
    this.#stop = undefined
    if (!this.#hasNews()) return
    const { clock, connectTimeoutMs } = this.#of.settings
    const { connection, cursor } = this.#of
    const leaving = new AbortController()
    const over = () => {
      cancelDeadline()
      if (this.#stop !== stop) return
      this.#stop = undefined
      this.#said = { connection, cursor }
      this.moved()
    }
    // The user's functions may be deaf to the signal.
    const stop = () => {
      leaving.abort()
      over()
    }
    const cancelDeadline = clock.setTimeout(stop, connectTimeoutMs, false)
    this.#stop = stop
    this.#saidAt = clock.now()
    // Nothing depends on what becomes of it.
    this.#post(JSON.stringify({ connection, cursor }), leaving.signal, extra).then(over, over)
  }

  async #post(body: string, signal: AbortSignal, extra: RequestInit): Promise<void> {
    const headers = await this.#of.headers.make()
    signal.throwIfAborted()
    headers.set('content-type', 'application/json')
    const { fetch, init } = this.#of.settings
    const response = await fetch(this.#url, { ...init, ...extra, method: 'POST', headers, body, signal })
    await response.body?.cancel()
  }
}
