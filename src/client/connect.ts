import { SseError } from '../protocol/error.js'
import type { StreamItem } from '../protocol/event.js'
import { Acks } from './acks.js'
import type { Attempt, Context } from './attempt.js'
import { Attempts } from './attempts.js'
import { afterEstablished, afterFailure, afterMaxAge } from './backoff.js'
import { ItemBuffer } from './buffer.js'
import type { EventStream } from './event-stream.js'
import { LINK, type Linked, makeLink, type StreamLink } from './link.js'
import { type ConnectOptions, type ConnectState, readOptions, type Settings, type StateListener } from './options.js'
import type { Outcome } from './outcome.js'
import { Progress } from './progress.js'
import { RequestHeaders } from './request-headers.js'
import { type Pause, pause } from './wake.js'

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

class Stream implements EventStream, Context, Linked {
  readonly settings: Settings
  readonly headers: RequestHeaders
  readonly [LINK]: StreamLink
  readonly buffer: ItemBuffer
  readonly progress: Progress
  readonly ready: Promise<void>
  readonly #listeners = new Set<StateListener>()
  readonly #onAbort = () => this.close()
  readonly #iterator: AsyncIterableIterator<StreamItem, undefined>
  #settleReady: (error?: SseError) => void = () => {}
  #state: ConnectState = 'connecting'
  #connection: string | null = null
  readonly #asking: Attempts
  readonly #acks: Acks | undefined
  #mode: 'stream' | 'poll' = 'stream'
  #paused: Pause | undefined
  #attempts = 0
  #failures = 0
  #wokenAt = Number.NEGATIVE_INFINITY
  #quickAt = Number.NEGATIVE_INFINITY

  constructor(settings: Settings) {
    this.settings = settings
    this.#asking = new Attempts(this)
    this.headers = new RequestHeaders(settings.headers, settings.clock, settings.connectTimeoutMs)
    this.#acks = settings.acks === undefined ? undefined : new Acks(settings.acks, this, this.headers, settings)
    this[LINK] = makeLink(this, this.headers, () => this.#reopen())
    this.buffer = new ItemBuffer(settings.maxBufferedBytes, settings.cursor)
    this.progress = new Progress(this.buffer, settings.byQuery)
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error ? reject(error) : resolve())
    })
    this.ready.catch(() => {}) // handled here, so that nobody has to
    this.#iterator = this.#makeIterator()
    if (settings.onState) this.#listeners.add(settings.onState)
    settings.signal?.addEventListener('abort', this.#onAbort)
    if (settings.signal?.aborted) this.close()
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

  get state(): ConnectState {
    return this.#state
  }

  get connection(): string | null {
    return this.#connection
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

  /** The attempt heard the server speak. */
  opened(attempt: Attempt, connection: string | null): void {
    if (!this.#asking.answered(attempt)) return
    this.progress.everReady = true
    this.progress.refreshed = false
    this.#connection = connection
    this.#acks?.moved()
    this.#settleReady()
    const mode = attempt.way === 'poll' ? 'poll' : 'stream'
    // One poll after another is no change.
    if (this.#state === 'open' && this.#mode === mode) return
    this.#mode = mode
    this.#change('open')
  }

  /** The attempt has a head, and hears nothing. */
  quiet(): void {
    this.#asking.quiet()
  }

  knowsNoPolls(): void {
    this.#asking.knowsNoPolls()
  }

  async #run(): Promise<void> {
    while (this.#state !== 'closed') {
      this.#attempts++
      const isStream = this.#asking.way === 'stream'
      if (isStream) this.#mode = 'stream'
      if (isStream || this.#state !== 'open') this.#change('connecting')
      if (this.#isClosed()) return
      const { attempt, outcome } = await this.#asking.next()
      if (outcome.is !== 'polled') this.#connection = null
      if (this.#isClosed()) return
      if (attempt.established) this.#failures = 0
      await this.#follow(outcome, attempt.established)
    }
  }

  /** Does what an ended attempt calls for, and returns when it is time for the next. */
  async #follow(outcome: Outcome, established: boolean): Promise<void> {
    switch (outcome.is) {
      case 'ended':
        return this.#finish(outcome.reason)
      case 'failed':
        return this.#finish(outcome.reason, outcome.error)
      case 'again':
        return
      case 'polled':
        return this.#wait(POLL_SPACING_MS, POLL_SPACING_MS)
      case 'stripped':
        this.progress.byQuery = true
        return
      case 'refresh':
        this.progress.refreshed = true
        // The next attempt waits for them, and meets what they reject with.
        this.headers.renew().catch(() => {})
        return
      case 'reopen':
        return this.#pauseForWake()
      case 'refused':
        if (this.#isTerminal(outcome.error, outcome.terminal)) return this.#finish(outcome.reason, outcome.error)
        return this.#pause(this.#afterFailure(outcome.retryAfterMs), outcome.reason, outcome.retryAfterMs)
      case 'lost':
        return this.#pause(this.#delayAfter(established, outcome.maxAge ?? false), outcome.reason, 0)
    }
  }

  #delayAfter(established: boolean, maxAge: boolean): number {
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
    if (this.#isClosed()) return
    const soonestMs = Math.max(floorMs, this.#wokenAt + WAKE_SPACING_MS - this.settings.clock.now())
    return this.#wait(delayMs, soonestMs)
  }

  async #wait(delayMs: number, soonestMs: number): Promise<void> {
    const { clock } = this.settings
    this.#paused = pause(clock, delayMs, soonestMs)
    if (await this.#paused.over) this.#wokenAt = clock.now()
    this.#paused = undefined
  }

  /** The user's side calls for another response: as for a wake, at once, but not in a hot loop. */
  #reopen(): void {
    if (this.#state === 'open') this.#asking.end({ is: 'reopen' })
    // What was stopped by the end is not to be woken again.
    else if (this.#state === 'waiting') this.#paused?.wake()
  }

  async #pauseForWake(): Promise<void> {
    const heldBackMs = this.#wokenAt + WAKE_SPACING_MS - this.settings.clock.now()
    if (heldBackMs > 0) await this.#pause(heldBackMs, 'asked to reopen', heldBackMs)
    this.#wokenAt = this.settings.clock.now()
  }

  #isTerminal(error: SseError, byDefault: boolean): boolean {
    try {
      const said: unknown = this.settings.isTerminal(error)
      // Types do not keep an async function out, and a promise decides nothing.
      if (said instanceof Promise) said.catch(() => {})
      return typeof said === 'boolean' ? said : byDefault
    } catch {
      return byDefault
    }
  }

  /** The end, whatever the reason. What is buffered can still be taken, unless it was dropped. */
  #finish(reason: string, error?: SseError): void {
    if (this.#isClosed()) return
    // First of all: what is freed below may call back into user code, and that may call close().
    this.#state = 'closed'
    this.#connection = null
    this.settings.signal?.removeEventListener('abort', this.#onAbort)
    this.#asking.end({ is: 'ended', reason })
    this.#paused?.stop()
    this.#acks?.close()
    this.buffer.finish(error)
    this.#settleReady(error ?? new SseError('CLOSED', `The stream was closed before it was ready: ${reason}`))
    this.#change('closed', reason)
    this.#listeners.clear()
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #change(state: ConnectState, reason?: string, delayMs?: number): void {
    this.#state = state
    const change = { state, mode: this.#mode, attempt: this.#attempts, reason, delayMs } as const
    for (const listener of [...this.#listeners]) {
      // A listener before it may have closed the stream, and `closed` is the last word.
      if (this.#state !== state) return
      try {
        const result: unknown = listener(change)
        if (result instanceof Promise) result.catch(() => {})
      } catch {
        // See StateListener.
      }
    }
  }

  #makeIterator(): AsyncIterableIterator<StreamItem, undefined> {
    const iterator: AsyncIterableIterator<StreamItem, undefined> = {
      next: () => {
        // An end that left items in the buffer has let go of the signal.
        if (this.settings.signal?.aborted) this.close()
        const next = this.buffer.next()
        this.#acks?.moved()
        return next
      },
      return: () => {
        this.close()
        return Promise.resolve({ done: true, value: undefined })
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }
}
