import { SseError } from '../protocol/error.js'
import { ESTABLISHED_MS, parseRetryAfter } from './backoff.js'
import type { ItemBuffer } from './buffer.js'
import type { Settings } from './options.js'
import { lostBy, type Outcome } from './outcome.js'
import type { Progress } from './progress.js'
import { BlockReader, type Gate, readBlocks } from './read.js'
import { type Receiving, Reception } from './reception.js'
import { type Asked, writeRequest } from './request.js'
import { judge } from './verdict.js'
import { Watchdog } from './watchdog.js'

const UNANNOUNCED_SILENCE_MS = 300_000

/** What an attempt belongs to. */
export interface Context {
  readonly settings: Settings
  readonly progress: Progress
  readonly buffer: ItemBuffer
  /** The server was heard to be a stream. */
  opened(connection: string | null): void
}

/**
 * One request and its response. It ends once, for whatever comes first, and whoever ends it frees all
 * it holds; a step that returns later finds it over and does nothing.
 */
export class Attempt implements Receiving, Gate {
  readonly outcome: Promise<Outcome>
  readonly #context: Context
  readonly #controller = new AbortController()
  readonly #watchdog: Watchdog
  #settle: (outcome: Outcome) => void = () => {}
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #step = 'the headers failed'
  #over = false
  #openedAt: number | undefined
  #handedOver = false
  #established = false

  constructor(context: Context) {
    this.#context = context
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve
    })
    const { clock, connectTimeoutMs } = context.settings
    this.#watchdog = new Watchdog(clock, (ms) => this.#onSilence(ms))
    this.#watchdog.start(connectTimeoutMs)
    // Not in this turn: what the user's `headers` function does must find the attempt in its place.
    Promise.resolve()
      .then(() => this.#proceed())
      .then(
        (outcome) => this.end(outcome),
        (fault: unknown) => this.end(this.#outcomeOf(fault)),
      )
  }

  get over(): boolean {
    return this.#over
  }

  /** Whether it ended a failure or a stream that had been up: known when it is over. */
  get established(): boolean {
    return this.#established
  }

  end(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    const openMs = this.#openedAt === undefined ? 0 : this.#context.settings.clock.now() - this.#openedAt
    this.#established = this.#handedOver || openMs >= ESTABLISHED_MS
    this.#watchdog.stop()
    if (this.#reader) discard(this.#reader)
    this.#controller.abort()
    this.#settle(outcome)
  }

  opened(connection: string | null): void {
    this.#context.opened(connection)
    // An announced heartbeat takes effect at once; it may be far shorter than what held until now.
    if (!this.#over) this.#watchdog.start(this.#silenceMs())
  }

  handedOver(): void {
    this.#handedOver = true
  }

  heard(): void {
    this.#watchdog.touch()
  }

  before(piece: Uint8Array): void {
    this.#context.buffer.owe(piece.length)
  }

  after(): Promise<void> | undefined {
    const { buffer } = this.#context
    if (this.#over || !buffer.full) return undefined
    this.#watchdog.pause()
    return buffer.room().then(() => {
      if (!this.#over) this.#watchdog.resume()
    })
  }

  async #proceed(): Promise<Outcome> {
    const { settings, progress } = this.#context
    if (this.#over) return OVER
    const { url, headers, asked } = await writeRequest(settings, progress)
    if (this.#over) return OVER
    this.#step = 'the request failed'
    const response = await settings.fetch(url, { ...settings.init, headers, signal: this.#controller.signal })
    if (this.#over) {
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
    this.#openedAt = this.#context.settings.clock.now()
    this.#watchdog.start(this.#silenceMs())
    if (body) {
      this.#reader = body.getReader()
      const reception = new Reception(this, this.#context.progress, asked)
      await readBlocks(this.#reader, new BlockReader(this.#context.settings.maxEventBytes, reception), this)
    }
    return { is: 'lost', reason: 'the response ended' }
  }

  #silenceMs(): number {
    const { settings, progress } = this.#context
    return settings.silenceMs ?? progress.silenceMs ?? UNANNOUNCED_SILENCE_MS
  }

  #onSilence(ms: number): void {
    this.end({ is: 'lost', reason: this.#reader ? `no byte for ${ms} ms` : `no response head within ${ms} ms` })
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
