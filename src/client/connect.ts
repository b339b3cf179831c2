import { SseError } from '../protocol/error.js'
import type { StreamItem } from '../protocol/event.js'
import { Attempt, type Context } from './attempt.js'
import { afterEstablished, afterFailure, afterMaxAge } from './backoff.js'
import { ItemBuffer } from './buffer.js'
import { type ConnectOptions, type ConnectState, readOptions, type Settings, type StateListener } from './options.js'
import type { Outcome } from './outcome.js'
import { Progress } from './progress.js'
import { pause } from './wake.js'

/** Wakes that come closer than this are held back, or a flapping network would make a hammer of them. */
const WAKE_SPACING_MS = 1_000
/** A server that says `maxAge` more often than this is met with the usual waits. */
const QUICK_SPACING_MS = 5_000

/**
 * A stream that is kept up: the items of one server stream across as many responses as it takes. For
 * one consumer.
 */
export interface EventStream extends AsyncIterable<StreamItem, undefined>, AsyncDisposable {
  /**
   * Iterates over the items. Leaving the loop closes the stream.
   *
   * @throws SseError `HTTP_STATUS`, `NOT_AN_EVENT_STREAM` or `FRAME_TOO_LARGE`, once, after all items
   * that were received before it.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamItem, undefined>
  /**
   * The place behind which everything is handled: it moves to an item's `id` when the item after it is
   * asked for. Save it, and pass it as the option `cursor`, to resume after a restart.
   */
  readonly cursor: string | null
  readonly state: ConnectState
  /** What the server calls the open connection; `null` while there is none, or it has no name. */
  readonly connection: string | null
  /**
   * Resolves when the stream is up for the first time. Rejects with the final error, or with
   * `SseError` `CLOSED` when the stream ends before that. Never an unhandled rejection.
   */
  readonly ready: Promise<void>
  /** Calls `listener` on every change of state, until the returned function is called. */
  onState(listener: StateListener): () => void
  /** Ends the stream now: nothing is handed out any more, and nothing is left behind. */
  close(): void
}

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

class Stream implements EventStream, Context {
  readonly settings: Settings
  readonly buffer: ItemBuffer
  readonly progress: Progress
  readonly ready: Promise<void>
  readonly #listeners = new Set<StateListener>()
  readonly #onAbort = () => this.close()
  readonly #iterator: AsyncIterableIterator<StreamItem, undefined>
  #settleReady: (error?: SseError) => void = () => {}
  #state: ConnectState = 'connecting'
  #connection: string | null = null
  #attempt: Attempt | undefined
  #endPause: (() => void) | undefined
  #attempts = 0
  #failures = 0
  #wokenAt = Number.NEGATIVE_INFINITY
  #quickAt = Number.NEGATIVE_INFINITY

  constructor(settings: Settings) {
    this.settings = settings
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
  opened(connection: string | null): void {
    this.progress.everReady = true
    this.progress.refreshed = false
    this.#connection = connection
    this.#settleReady()
    this.#change('open')
  }

  async #run(): Promise<void> {
    while (this.#state !== 'closed') {
      this.#attempts++
      this.#change('connecting')
      if (this.#isClosed()) return
      const attempt = new Attempt(this)
      this.#attempt = attempt
      const outcome = await attempt.outcome
      this.#attempt = undefined
      this.#connection = null
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
      case 'stripped':
        this.progress.byQuery = true
        return
      case 'refresh':
        this.progress.refreshed = true
        return
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
    const { clock } = this.settings
    const soonestMs = Math.max(floorMs, this.#wokenAt + WAKE_SPACING_MS - clock.now())
    await new Promise<void>((resolve) => {
      const stop = pause(clock, delayMs, soonestMs, (woken) => {
        if (woken) this.#wokenAt = clock.now()
        resolve()
      })
      this.#endPause = () => {
        stop()
        resolve()
      }
    })
    this.#endPause = undefined
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
    this.#attempt?.end({ is: 'ended', reason })
    this.#endPause?.()
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
    const change = { state, mode: 'stream', attempt: this.#attempts, reason, delayMs } as const
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
        return this.buffer.next()
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
