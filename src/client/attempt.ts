import type { Ready } from '../protocol/control.js'
import { SseError } from '../protocol/error.js'
import { ESTABLISHED_MS, parseRetryAfter } from './backoff.js'
import type { ItemBuffer } from './buffer.js'
import type { Settings } from './options.js'
import { lostBy, type Outcome } from './outcome.js'
import type { Progress } from './progress.js'
import { quietly } from './quietly.js'
import { BlockReader, type Gate, readBlocks } from './read.js'
import { type Receiving, Reception } from './reception.js'
import { type Asked, type Way, writeRequest } from './request.js'
import type { RequestHeaders } from './request-headers.js'
import { judge } from './verdict.js'
import { Watchdog } from './watchdog.js'

const UNANNOUNCED_SILENCE_MS = 300_000
/** How long a poll may go on bringing bytes, in deadlines of a poll that brings none. */
const LONGEST_POLL = 6

/** What an attempt works with. */
export interface Context {
  readonly settings: Settings
  readonly headers: RequestHeaders
  readonly progress: Progress
  readonly buffer: ItemBuffer
}

/** Who has begun it. */
export interface Owner {
  readonly context: Context
  /** The server was heard to be a stream. */
  opened(attempt: Attempt, ready: Partial<Ready>): void
  /** A head came, and then nothing for as long as it may take to connect. Said once. */
  quiet(): void
}

/**
 * One request and its response. It ends once, for whatever comes first, and whoever ends it frees all
 * it holds; a step that returns later finds it over and does nothing.
 */
export class Attempt implements Receiving, Gate {
  readonly outcome: Promise<Outcome>
  way: Way
  /** Set by `end` alone. */
  over = false
  handedOver = false
  /** Whether the head of a stream came. */
  headed = false
  readonly #pollS: number
  readonly #context: Context
  readonly #owner: Owner
  readonly #controller = new AbortController()
  readonly #watchdog: Watchdog
  readonly #startedAt: number
  #settle: (outcome: Outcome) => void = () => {}
  /** What is to be cancelled when it ends. */
  #source: { cancel(): Promise<void> } | null = null
  #step = 'the headers failed'
  /** Whether a head came and no byte of its body yet. */
  #quiet = false
  #openedAt = 0

  /** @param pollS - how long a poll asks the server to wait, in seconds. */
  constructor(owner: Owner, way: Way, pollS: number) {
    this.#owner = owner
    this.#context = owner.context
    this.way = way
    this.#pollS = way === 'poll' ? pollS : 0
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve
    })
    const { clock } = owner.context.settings
    this.#startedAt = clock.now()
    this.#watchdog = new Watchdog(clock, (ms) => this.#onSilence(ms))
    this.#watchdog.start(this.#connectMs())
    // Not in this turn: what the user's `headers` function does must find the attempt in its place.
    void Promise.resolve()
      .then(() => this.#proceed())
      .catch((fault: unknown) => this.#outcomeOf(fault))
      .then((outcome) => outcome && this.end(outcome))
  }

  /** Whether its end, if it is that of a stream, is no failure. */
  get established(): boolean {
    return this.handedOver || (this.headed && this.#msSince(this.#openedAt) >= ESTABLISHED_MS)
  }

  /** Whether a poll brought something, or waited as it should. */
  get full(): boolean {
    return this.handedOver || this.#msSince(this.#startedAt) >= 500 * this.#pollS
  }

  end(outcome: Outcome): void {
    if (this.over) return
    this.over = true
    this.#watchdog.pause()
    this.#discard()
    this.#controller.abort()
    this.#settle(outcome)
  }

  opened(ready: Partial<Ready>): void {
    // A server that is no hub answers a poll with a stream.
    if (ready.resumed === undefined && this.way === 'poll') this.way = 'stream'
    this.#owner.opened(this, ready)
    // An announced heartbeat takes effect at once; it may be far shorter than what held until now.
    if (!this.over && this.way === 'stream') this.#watchdog.start(this.#silenceMs())
  }

  before(piece: Uint8Array): void {
    this.#context.buffer.owe(piece.length)
    if (this.#mayGoOn()) this.#watchdog.touch()
    if (this.#quiet) this.#endQuiet()
  }

  after(): Promise<void> | undefined {
    const { buffer } = this.#context
    if (this.over || !buffer.full) return undefined
    this.#watchdog.pause()
    return buffer.room().then(() => {
      if (!this.over) this.#watchdog.start(this.#silenceMs())
    })
  }

  async #proceed(): Promise<Outcome | undefined> {
    const { settings, headers: made, progress } = this.#context
    if (this.over) return undefined
    const { url, headers, asked } = await writeRequest(settings, made, progress, this.#pollS)
    if (this.over) return undefined
    this.#step = 'the request failed'
    const { signal } = this.#controller
    const { body, status, headers: head } = await settings.fetch(url, { ...settings.init, headers, signal })
    this.#source = body
    if (this.over) {
      this.#discard()
      return undefined
    }
    const verdict = judge(status, head.get('content-type'), {
      everReady: progress.everReady,
      canRefresh: settings.canRefresh && !progress.refreshed,
      retryAfterMs: parseRetryAfter(head.get('retry-after'), settings.clock.now()),
    })
    return verdict.is === 'open' ? this.#read(body, asked) : verdict
  }

  async #read(body: ReadableStream<Uint8Array> | null, asked: Asked): Promise<Outcome> {
    this.#step = 'the response broke off'
    const { settings, progress } = this.#context
    this.headed = true
    this.#openedAt = settings.clock.now()
    this.#quiet = this.way === 'stream' && settings.mayPoll
    if (this.#quiet) this.#watchdog.start(Math.min(this.#connectMs(), this.#silenceMs()))
    else if (this.way === 'stream') this.#watchdog.start(this.#silenceMs())
    if (body) {
      const reader = body.getReader()
      this.#source = reader
      await readBlocks(reader, new BlockReader(settings.maxEventBytes, new Reception(this, progress, asked)), this)
    }
    return this.way === 'poll' ? { is: 'polled' } : { is: 'lost', reason: 'the response ended' }
  }

  /** Cancels what will not be read, whatever a body of the user's making does about it. */
  #discard(): void {
    quietly(() => this.#source?.cancel())
  }

  #connectMs(): number {
    return this.#context.settings.connectTimeoutMs + 1_000 * this.#pollS
  }

  #silenceMs(): number {
    const { settings, progress } = this.#context
    if (this.way !== 'stream') return this.#connectMs()
    return settings.silenceMs ?? progress.silenceMs ?? UNANNOUNCED_SILENCE_MS
  }

  /**
   * Whether what was heard puts the deadline off. A poll that brings something large may take longer, but not for ever; a
   * probe is over with the first frame of a stream, and what is not that says nothing.
   */
  #mayGoOn(): boolean {
    if (this.way !== 'poll') return this.way === 'stream'
    return this.#msSince(this.#startedAt) < LONGEST_POLL * this.#connectMs()
  }

  #onSilence(ms: number): void {
    if (this.#quiet && ms < this.#silenceMs()) {
      this.#endQuiet()
      this.#owner.quiet()
    } else {
      const silent = !this.headed
      this.end({ is: 'lost', silent, reason: silent ? `no response head within ${ms} ms` : `no byte for ${ms} ms` })
    }
  }

  #endQuiet(): void {
    this.#quiet = false
    this.#watchdog.allow(this.#silenceMs())
  }

  #msSince(time: number): number {
    return this.#context.settings.clock.now() - time
  }

  #outcomeOf(fault: unknown): Outcome {
    return fault instanceof SseError && fault.code === 'FRAME_TOO_LARGE'
      ? { is: 'ended', error: fault, reason: 'one event is too large' }
      : lostBy(this.#step, fault)
  }
}
