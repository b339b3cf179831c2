import { SseError } from '../protocol/error.js'
import { ESTABLISHED_MS, parseRetryAfter } from './backoff.js'
import type { ItemBuffer } from './buffer.js'
import type { Settings } from './options.js'
import { lostBy, type Outcome } from './outcome.js'
import type { Progress } from './progress.js'
import { BlockReader, type Gate, readBlocks } from './read.js'
import { type Receiving, Reception } from './reception.js'
import { type Asked, type Way, writeRequest } from './request.js'
import type { RequestHeaders } from './request-headers.js'
import { judge } from './verdict.js'
import { Watchdog } from './watchdog.js'

const UNANNOUNCED_SILENCE_MS = 300_000

/** What an attempt belongs to. */
export interface Context {
  readonly settings: Settings
  readonly headers: RequestHeaders
  readonly progress: Progress
  readonly buffer: ItemBuffer
  /** The server was heard to be a stream. */
  opened(attempt: Attempt, connection: string | null): void
  /** A head came, and then nothing for as long as it may take to connect. Said once. */
  quiet(): void
  /** The server was heard, and is no hub. */
  knowsNoPolls(): void
}

/**
 * One request and its response. It ends once, for whatever comes first, and whoever ends it frees all
 * it holds; a step that returns later finds it over and does nothing.
 */
export class Attempt implements Receiving, Gate {
  readonly outcome: Promise<Outcome>
  way: Way
  /** Whether it ended a failure or a stream that had been up: known when it is over. */
  established = false
  /** Set by `end` alone. */
  over = false
  readonly #pollS: number
  readonly #context: Context
  readonly #controller = new AbortController()
  readonly #watchdog: Watchdog
  #settle: (outcome: Outcome) => void = () => {}
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #startedAt: number
  #step = 'the headers failed'
  /** Whether a head came and no byte of its body yet. */
  #quiet = false
  #openedAt: number | undefined
  #handedOver = false

  /** @param pollS - how long a poll asks the server to wait, in seconds. */
  constructor(context: Context, way: Way = 'stream', pollS = 0) {
    this.#context = context
    this.way = way
    this.#pollS = pollS
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve
    })
    const { clock } = context.settings
    this.#startedAt = clock.now()
    this.#watchdog = new Watchdog(clock, (ms) => this.#onSilence(ms))
    this.#watchdog.start(this.#connectMs())
    // Not in this turn: what the user's `headers` function does must find the attempt in its place.
    Promise.resolve()
      .then(() => this.#proceed())
      .then(
        (outcome) => this.end(outcome),
        (fault: unknown) => this.end(this.#outcomeOf(fault)),
      )
  }

  /** Whether the head of a stream came. */
  get headed(): boolean {
    return this.#openedAt !== undefined
  }

  /** Whether a poll brought something, or waited as it should. */
  get full(): boolean {
    return this.#handedOver || this.#context.settings.clock.now() - this.#startedAt >= 500 * this.#pollS
  }

  end(outcome: Outcome): void {
    if (this.over) return
    this.over = true
    const openMs = this.#openedAt === undefined ? 0 : this.#context.settings.clock.now() - this.#openedAt
    this.established = this.#handedOver || openMs >= ESTABLISHED_MS
    this.#watchdog.pause()
    if (this.#reader) discard(this.#reader)
    this.#controller.abort()
    this.#settle(outcome)
  }

  opened(connection: string | null): void {
    this.#context.opened(this, connection)
    // An announced heartbeat takes effect at once; it may be far shorter than what held until now.
    if (!this.over) this.#watchdog.start(this.#silenceMs())
  }

  handedOver(): void {
    this.#handedOver = true
  }

  knowsNoPolls(): void {
    this.#context.knowsNoPolls()
    if (this.way === 'poll') this.way = 'stream'
  }

  heard(): void {
    this.#watchdog.touch()
    if (!this.#quiet) return
    this.#quiet = false
    this.#watchdog.start(this.#silenceMs())
  }

  before(piece: Uint8Array): void {
    this.#context.buffer.owe(piece.length)
  }

  after(): Promise<void> | undefined {
    const { buffer } = this.#context
    if (this.over || !buffer.full) return undefined
    this.#watchdog.pause()
    return buffer.room().then(() => {
      if (!this.over) this.#watchdog.resume()
    })
  }

  async #proceed(): Promise<Outcome> {
    const { settings, headers: made, progress } = this.#context
    if (this.over) return OVER
    const { url, headers, asked } = await writeRequest(settings, made, progress, this.#pollS)
    if (this.over) return OVER
    this.#step = 'the request failed'
    const response = await settings.fetch(url, { ...settings.init, headers, signal: this.#controller.signal })
    if (this.over) {
      discard(response.body)
      return OVER
    }
    const verdict = judge(response.status, response.headers.get('content-type'), {
      everReady: progress.everReady,
      canRefresh: settings.canRefresh && !progress.refreshed,
    })
    if (verdict.is === 'open') return this.#read(response.body, asked)
    discard(response.body)
    if (verdict.is === 'ended') return { is: 'ended', reason: 'the server has nothing more (204)' }
    if (verdict.is === 'refresh') return verdict
    const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), settings.clock.now())
    return { ...verdict, is: 'refused', terminal: verdict.is === 'terminal', retryAfterMs }
  }

  async #read(body: ReadableStream<Uint8Array> | null, asked: Asked): Promise<Outcome> {
    this.#step = 'the response broke off'
    const { settings } = this.#context
    this.#openedAt = settings.clock.now()
    this.#quiet = this.way === 'stream' && settings.fallback === 'poll'
    this.#watchdog.start(this.#quiet ? Math.min(this.#connectMs(), this.#silenceMs()) : this.#silenceMs())
    if (body) {
      this.#reader = body.getReader()
      const reception = new Reception(this, this.#context.progress, asked)
      await readBlocks(this.#reader, new BlockReader(settings.maxEventBytes, reception), this)
    }
    return this.way === 'poll' ? { is: 'polled' } : { is: 'lost', reason: 'the response ended' }
  }

  #connectMs(): number {
    return this.#context.settings.connectTimeoutMs + 1_000 * this.#pollS
  }

  #silenceMs(): number {
    const { settings, progress } = this.#context
    // One deadline holds for the whole of these, however little the heartbeat.
    if (this.way !== 'stream') return this.#connectMs()
    return settings.silenceMs ?? progress.silenceMs ?? UNANNOUNCED_SILENCE_MS
  }

  #onSilence(ms: number): void {
    if (this.#quiet && ms < this.#silenceMs()) {
      this.#quiet = false
      this.#watchdog.start(this.#silenceMs())
      this.#context.quiet()
      return
    }
    this.end({
      is: 'lost',
      silent: !this.#reader,
      reason: this.#reader ? `no byte for ${ms} ms` : `no response head within ${ms} ms`,
    })
  }

  #outcomeOf(fault: unknown): Outcome {
    if (fault instanceof SseError && fault.code === 'FRAME_TOO_LARGE') {
      return { is: 'failed', error: fault, reason: 'one event is too large' }
    }
    return lostBy(this.#step, fault)
  }
}

/** For steps that return when the attempt is over, and are not heard any more. */
const OVER: Outcome = { is: 'lost', reason: 'over' }

/** Cancels what will not be read, whatever a body of the user's making does about it. */
function discard(source: { cancel(): Promise<void> } | null): void {
  try {
    source?.cancel().catch(() => {})
  } catch {
    // There is nobody to tell, and nothing left to free.
  }
}
