import { SseError } from '../protocol/error.js'
import type { StreamItem } from '../protocol/event.js'
import { Acks } from './acks.js'
import { type Asking, Attempts } from './attempts.js'
import { afterEstablished, afterFailure, afterMaxAge } from './backoff.js'
import { ItemBuffer } from './buffer.js'
import type { EventStream } from './event-stream.js'
import { LINK, type Linked, type StreamLink } from './link.js'
import { type ConnectOptions, type ConnectState, readOptions, type Settings, type StateListener } from './options.js'
import type { Outcome } from './outcome.js'
import { Progress } from './progress.js'
import { quietly } from './quietly.js'
import type { Way } from './request.js'
import { RequestHeaders } from './request-headers.js'
import { listen, type Pause, pause } from './wake.js'

export type { EventStream } from './event-stream.js'

/** Wakes that come closer than this are held back, or a flapping network would make a hammer of them. */
const WAKE_SPACING_MS = 1_000
/** However busy a stream is, its polls end no closer than this. */
const POLL_SPACING_MS = 100
/** A server that says `maxAge` more often than this is met with the usual waits. */
const QUICK_SPACING_MS = 5_000

/**
 * Reads a stream of Server-Sent Events, and keeps reading it: comes back when the connection ends,
 * resumes where it was, and hands out every event once, in order, with a gap item wherever some are
 * missing. Starts at once.
 *
 * @param url - may be relative where there is a page, or with a `fetch` of your own.
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * for await (const item of connect('https://example.com/events')) {
 *   if (item.type === 'gap') await reload()
 *   else console.log(item.event, item.data)
 * }
 * ```
 */
export function connect(url: string | URL, options: ConnectOptions = {}): EventStream {
  return new Stream(readOptions(url, options))
}

class Stream implements EventStream, Asking, Linked {
  readonly settings: Settings
  readonly headers: RequestHeaders
  readonly buffer: ItemBuffer
  readonly progress: Progress
  readonly ready: Promise<void>
  readonly [LINK]: StreamLink
  state: ConnectState = 'connecting'
  connection: string | null = null
  readonly #listeners = new Set<StateListener>()
  readonly #asking: Attempts
  readonly #acks: Acks | undefined
  readonly #forget: () => void
  readonly #iterator: AsyncIterableIterator<StreamItem, undefined>
  #settleReady: (error?: SseError) => void = () => {}
  #mode: 'stream' | 'poll' = 'stream'
  #paused: Pause | undefined
  #attempts = 0
  #failures = 0
  #wokenAt = 0
  #quickAt = 0

  constructor(settings: Settings) {
    const { signal, clock, acks, onState } = settings
    this.settings = settings
    this.headers = new RequestHeaders(settings.headers, clock, settings.connectTimeoutMs)
    this.buffer = new ItemBuffer(settings.maxBufferedBytes, settings.cursor)
    this.progress = new Progress(this.buffer, settings.byQuery)
    this[LINK] = { headers: this.headers, reopen: () => this.#reopen() }
    this.#asking = new Attempts(this)
    if (acks !== undefined) this.#acks = new Acks(acks, this)
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error ? reject(error) : resolve())
    })
    this.ready.catch(() => {}) // handled here, so that nobody has to
    this.#iterator = {
      next: () => {
        // An end that left items in the buffer has let go of the signal.
        if (signal?.aborted) this.close()
        const next = this.buffer.next()
        this.#acks?.moved()
        return next
      },
      return: () => {
        this.close()
        return this.buffer.next()
      },
      [Symbol.asyncIterator]: () => this.#iterator,
    }
    if (onState) this.#listeners.add(onState)
    this.#forget = listen(signal, 'abort', () => this.close())
    if (signal?.aborted) this.close()
    // Not in this turn: the first change of state must find the caller with the stream in hand.
    Promise.resolve()
      .then(() => this.#run())
      .catch((fault: unknown) =>
        this.#finish('an internal error', new SseError('CLOSED', 'The client failed', { cause: fault })),
      )
  }

  get cursor(): string | null {
    return this.buffer.cursor
  }

  onState(listener: StateListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<StreamItem, undefined> {
    return this.#iterator
  }

  close(): void {
    this.buffer.drop()
    this.#finish('closed')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  opened(way: Way, connection: string | null): void {
    this.progress.everReady = true
    this.progress.refreshed = false
    this.connection = connection
    this.#acks?.moved()
    this.#settleReady()
    const mode = way === 'poll' ? way : 'stream'
    // One poll after another is no change.
    if (this.state === 'open' && this.#mode === mode) return
    this.#mode = mode
    this.#change('open')
  }

  async #run(): Promise<void> {
    while (!this.#isClosed()) {
      this.#attempts++
      const { streams } = this.#asking
      if (streams) this.#mode = 'stream'
      if (streams || this.state !== 'open') this.#change('connecting')
      if (this.#isClosed()) return
      const { attempt, outcome } = await this.#asking.next()
      if (outcome.is !== 'polled') this.connection = null
      if (this.#isClosed()) return
      const { established } = attempt
      if (established) this.#failures = 0
      await this.#follow(outcome, established)
    }
  }

  /** Does what an ended attempt calls for, and returns when it is time for the next. */
  async #follow(outcome: Outcome, established: boolean): Promise<void> {
    switch (outcome.is) {
      case 'ended':
        return this.#finish(outcome.reason, outcome.error)
      case 'polled':
        return this.#wait(POLL_SPACING_MS, POLL_SPACING_MS)
      case 'refresh':
        this.progress.refreshed = true
        // The next attempt waits for them, and meets what they reject with.
        this.headers.renew().catch(() => {})
        return
      case 'reopen': {
        const heldBackMs = this.#heldBackMs()
        if (heldBackMs > 0) await this.#pause(heldBackMs, 'asked to reopen', heldBackMs)
        this.#wokenAt = this.settings.clock.now()
        return
      }
      case 'retry':
      case 'terminal': {
        const { is, error, reason, retryAfterMs = 0 } = outcome
        const said = quietly(() => this.settings.isTerminal?.(error))
        if (typeof said === 'boolean' ? said : is === 'terminal') return this.#finish(reason, error)
        return this.#pause(this.#afterFailure(retryAfterMs), reason, retryAfterMs)
      }
      case 'lost':
        return this.#pause(this.#delayAfter(established, outcome.maxAge), outcome.reason, 0)
    }
  }

  #delayAfter(established: boolean, maxAge: boolean | undefined): number {
    const now = this.settings.clock.now()
    if (maxAge && now - this.#quickAt >= QUICK_SPACING_MS) {
      this.#quickAt = now
      return afterMaxAge(Math.random())
    }
    return established ? afterEstablished(this.progress.retryMs, Math.random()) : this.#afterFailure(0)
  }

  #afterFailure(retryAfterMs: number): number {
    this.#failures++
    return afterFailure(this.#failures, Math.max(this.progress.retryMs, retryAfterMs), Math.random())
  }

  async #pause(delayMs: number, reason: string, floorMs: number): Promise<void> {
    this.#change('waiting', reason, delayMs)
    if (!this.#isClosed()) await this.#wait(delayMs, Math.max(floorMs, this.#heldBackMs()))
  }

  async #wait(delayMs: number, soonestMs: number): Promise<void> {
    const { clock } = this.settings
    this.#paused = pause(clock, delayMs, soonestMs)
    if (await this.#paused.over) this.#wokenAt = clock.now()
    this.#paused = undefined
  }

  #heldBackMs(): number {
    return this.#wokenAt + WAKE_SPACING_MS - this.settings.clock.now()
  }

  /** The user's side calls for another response: as for a wake, at once, but not in a hot loop. */
  #reopen(): void {
    if (this.state === 'open') this.#asking.end({ is: 'reopen' })
    // What was stopped by the end is not to be woken again.
    else if (this.state === 'waiting') this.#paused?.wake()
  }

  /** The end, whatever the reason. What is buffered can still be taken, unless it was dropped. */
  #finish(reason: string, error?: SseError): void {
    if (this.#isClosed()) return
    // First of all: what is freed below may call back into user code, and that may call close().
    this.state = 'closed'
    this.connection = null
    this.#forget()
    this.#asking.end({ is: 'ended', reason })
    this.#paused?.stop()
    this.#acks?.close()
    this.buffer.finish(error)
    this.#settleReady(error ?? new SseError('CLOSED', `The stream was closed before it was ready: ${reason}`))
    this.#change('closed', reason)
    this.#listeners.clear()
  }

  #isClosed(): boolean {
    return this.state === 'closed'
  }

  #change(state: ConnectState, reason?: string, delayMs?: number): void {
    // Whatever of the user's was called since may have closed the stream.
    if (this.#isClosed() && state !== 'closed') return
    this.state = state
    const change = { state, mode: this.#mode, attempt: this.#attempts, reason, delayMs }
    for (const listener of [...this.#listeners]) {
      // A listener before it may have closed the stream, and `closed` is the last word.
      if (this.state === state) quietly(() => listener(change))
    }
  }
}
