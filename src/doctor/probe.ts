import { type Clock, systemClock } from '../protocol/clock.js'
import { duration } from '../protocol/options.js'
import { BodyReading } from './body.js'
import { addressOf, checkedHeaders } from './checks.js'
import { isEnough } from './enough.js'
import { keptValue, redactor, redactUrl } from './redact.js'
import { type Answer, type Exchange, Failed, get } from './request.js'
import { type Chunk, codingOf, type Frame, type Head, isEventStream, type Redirect, type Trace } from './trace.js'

/** How to ask, and for how long to watch. */
export interface ProbeOptions {
  /** Fields to send, such as `authorization`. Their values are in no trace. Not sent on to another origin by a redirect. */
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * How long to watch, in milliseconds. Default: 20,000, or two and a half of the heartbeats that the stream announces,
   * and less when enough was seen. A time that is given is watched to its end, unless the response ends before.
   */
  watchMs?: number | undefined
  /** How long to wait for the connection, in milliseconds. Default: 10,000. */
  connectTimeoutMs?: number | undefined
  /** Accepts any certificate: for an origin that is asked by its address. Default: `false`. */
  insecure?: boolean | undefined
  /** Called when something came. */
  onProgress?: ((progress: Progress) => void) | undefined
  /** Ends the probe; the trace so far is its result. */
  signal?: AbortSignal | undefined
  clock?: Clock | undefined
}

/** What came so far. */
export interface Progress {
  readonly elapsedMs: number
  readonly limitMs: number
  readonly status: number | undefined
  readonly frames: number
  readonly bytes: number
}

const WATCH_MS = 20_000
/** For streams that announce their heartbeat. */
const MIN_WATCH_MS = 3_000
const MAX_WATCH_MS = 180_000
/** Long enough to see whether the first frame comes. */
const PLAIN_MS = 2_000
const MAX_REDIRECTS = 5
/** Of a page that is no stream, a beginning is enough. */
const PAGE_BYTES = 65_536
const PAGE_MS = 2_000
const MAX_BYTES = 8 * 1024 * 1024
const MAX_ENTRIES = 20_000

/** As a browser asks: what compresses streams does it for those who accept it. */
const ASKED = {
  accept: 'text/event-stream',
  'accept-encoding': 'gzip, deflate, br',
  'cache-control': 'no-cache',
  'user-agent': 'steady-sse-doctor',
}

/**
 * Opens a stream and watches what arrives, and when. Any failure of the network is part of the trace, not an error.
 *
 * @throws TypeError when `url` or an option is not what it should be. No message repeats what may be secret.
 * @example
 * ```ts
 * const trace = await probe('https://app.example/events', { headers: { authorization: 'Bearer …' } })
 * console.log(diagnose(trace).line)
 * ```
 */
export async function probe(url: string | URL, options: ProbeOptions = {}): Promise<Trace> {
  return probeUntil(url, options)
}

/**
 * @param enough - tells that what was seen elsewhere decides.
 * @internal
 */
export async function probeUntil(url: string | URL, options: ProbeOptions, enough?: AbortSignal): Promise<Trace> {
  const target = addressOf('url', url)
  const watchMs = duration('watchMs', options.watchMs, WATCH_MS)
  const connectTimeoutMs = duration('connectTimeoutMs', options.connectTimeoutMs, 10_000)
  const headers = checkedHeaders(options.headers ?? {})
  const all = { ...options, watchMs, connectTimeoutMs, enough }
  const isFixed = options.watchMs !== undefined
  const trace = await new Probe(target, headers, all, isFixed).run()
  if (codingOf(trace) === undefined || !isEventStream(trace) || options.signal?.aborted) return trace
  // Whether it is the compression that holds a stream, only a second look can tell.
  const uncoded = { ...headers, 'accept-encoding': 'identity' }
  const again = {
    ...all,
    watchMs: Math.min(watchMs, Math.max(PLAIN_MS, trace.watchedMs)),
    onProgress: undefined,
    enough: undefined,
  }
  return { ...trace, plain: await new Probe(target, uncoded, again, isFixed).run() }
}

interface Checked extends ProbeOptions {
  watchMs: number
  connectTimeoutMs: number
  enough?: AbortSignal | undefined
}

class Probe {
  readonly #first: URL
  readonly #headers: Readonly<Record<string, string>>
  readonly #options: Checked
  readonly #isFixed: boolean
  readonly #clock: Clock
  readonly #clean: (text: string) => string
  readonly #startedAt: number
  readonly #redirects: Redirect[] = []
  readonly #chunks: Chunk[] = []
  readonly #frames: Frame[] = []
  #bytes = 0
  #lookAgainMs = 0
  #limitMs: number
  #connectMs: number | undefined
  #head: Head | undefined
  #heartbeatMs: number | undefined
  #connection: number | undefined
  #endReason: string | undefined
  #reading: BodyReading | undefined
  #exchange: Exchange | undefined
  #cancelLimit = () => {}
  #settle: (trace: Trace) => void = () => {}
  #isOver = false

  constructor(first: URL, headers: Readonly<Record<string, string>>, options: Checked, isFixed: boolean) {
    this.#first = first
    this.#headers = headers
    this.#options = options
    this.#isFixed = isFixed
    this.#clock = options.clock ?? systemClock
    this.#clean = redactor(first, headers)
    this.#startedAt = this.#clock.now()
    this.#limitMs = options.watchMs
  }

  run(): Promise<Trace> {
    const { signal, enough } = this.#options
    const onAbort = () => this.#finish('aborted')
    const onEnough = () => this.#finish('settled')
    return new Promise<Trace>((resolve) => {
      this.#settle = resolve
      if (signal?.aborted) return onAbort()
      if (enough?.aborted) return onEnough()
      signal?.addEventListener('abort', onAbort)
      enough?.addEventListener('abort', onEnough)
      this.#watchUntil(this.#limitMs)
      void this.#ask(this.#first, this.#headers)
    }).finally(() => {
      signal?.removeEventListener('abort', onAbort)
      enough?.removeEventListener('abort', onEnough)
    })
  }

  get #ms(): number {
    return Math.round((this.#clock.now() - this.#startedAt) * 10) / 10
  }

  #watchUntil(limitMs: number): void {
    this.#limitMs = limitMs
    this.#cancelLimit()
    this.#cancelLimit = this.#clock.setTimeout(() => this.#finish('limit'), limitMs - this.#ms)
  }

  async #ask(url: URL, headers: Readonly<Record<string, string>>): Promise<void> {
    const exchange = get(url, { ...ASKED, ...headers }, this.#options.insecure ?? false)
    this.#exchange = exchange
    const tooLong = { phase: 'connect', code: 'ETIMEDOUT' } as const
    const cancel = this.#clock.setTimeout(() => this.#finish('failed', tooLong), this.#options.connectTimeoutMs)
    try {
      await exchange.connected.finally(cancel)
      this.#connectMs ??= this.#ms
      const answer = await exchange.answered
      if (this.#isOver) return
      const next = this.#redirects.length < MAX_REDIRECTS ? redirectOf(answer, url) : undefined
      if (!next) return this.#read(answer)
      exchange.destroy()
      this.#redirects.push({ status: answer.status, to: this.#clean(redactUrl(next)) })
      await this.#ask(next, next.origin === url.origin ? headers : {})
    } catch (error) {
      this.#finish('failed', error instanceof Failed ? error.failure : { phase: 'head', code: 'UNKNOWN' })
    }
  }

  #read(answer: Answer): void {
    const { status, httpVersion } = answer
    const headers = answer.headers.map(([name, value]) => [name, keptValue(name, value, this.#clean)] as const)
    this.#head = { ms: this.#ms, status, httpVersion, headers }
    const isStream = isEventStream(this.#trace('limit'))
    if (!isStream) this.#watchUntil(Math.min(this.#limitMs, this.#ms + PAGE_MS))
    this.#reading = new BodyReading(answer.body, codingOf(this.#trace('limit')), {
      bytes: (bytes) => {
        this.#bytes += bytes
        this.#chunks.push({ ms: this.#ms, bytes, isMidFrame: false })
        if (this.#bytes > MAX_BYTES || this.#chunks.length >= MAX_ENTRIES) this.#finish('full')
        if (!isStream && this.#bytes > PAGE_BYTES) this.#finish('settled')
        this.#progress()
      },
      frame: (frame) => {
        if (this.#isOver) return
        const { kind, bytes, sentAt, mark } = frame
        this.#frames.push({ ms: this.#ms, kind, bytes, mark, ...(sentAt !== undefined && { sentAt }) })
        this.#connection ??= frame.connection
        this.#endReason = frame.endReason ?? this.#endReason
        if (frame.heartbeatMs !== undefined && this.#heartbeatMs === undefined) this.#announced(frame.heartbeatMs)
        if (this.#frames.length >= MAX_ENTRIES) this.#finish('full')
        else if (isStream && !this.#isFixed && this.#hasEnough()) this.#finish('settled')
      },
      fed: (isMidFrame) => {
        const last = this.#chunks.pop()
        if (last) this.#chunks.push({ ...last, isMidFrame })
      },
      end: (how, code) => {
        if (how === 'decode') this.#finish('failed', { phase: 'decode', code: code ?? 'UNKNOWN' })
        else this.#finish(how, how === 'cut' ? { phase: 'body', code: code ?? 'ECONNRESET' } : undefined)
      },
    })
    this.#progress()
  }

  /** The stream said how often it beats: two beats are what is worth waiting for. */
  #announced(heartbeatMs: number): void {
    this.#heartbeatMs = heartbeatMs
    if (this.#isFixed) return
    const limitMs = this.#ms + 2.5 * heartbeatMs + 1_000
    this.#watchUntil(Math.min(MAX_WATCH_MS, Math.max(MIN_WATCH_MS, limitMs)))
  }

  #hasEnough(): boolean {
    // Not for each of a thousand frames in a second.
    if (this.#ms < this.#lookAgainMs) return false
    this.#lookAgainMs = this.#ms + 50
    return isEnough(this.#frames, this.#chunks, this.#heartbeatMs)
  }

  #progress(): void {
    this.#options.onProgress?.({
      elapsedMs: this.#ms,
      limitMs: this.#limitMs,
      status: this.#head?.status,
      frames: this.#frames.length,
      bytes: this.#bytes,
    })
  }

  #finish(stopped: Trace['stopped'], failure?: Trace['failure']): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelLimit()
    this.#settle(this.#trace(stopped, failure))
    this.#exchange?.destroy()
  }

  #trace(stopped: Trace['stopped'], failure?: Trace['failure']): Trace {
    const looks = this.#reading?.looks ?? 'none'
    const page = this.#reading && looks !== 'events' ? this.#reading.page : undefined
    return {
      url: this.#clean(redactUrl(this.#first)),
      startedAt: this.#startedAt,
      limitMs: this.#limitMs,
      watchedMs: this.#ms,
      sent: Object.keys(this.#headers),
      redirects: this.#redirects,
      connectMs: this.#connectMs,
      head: this.#head,
      chunks: this.#chunks,
      frames: this.#frames,
      body: looks,
      page: page && { title: page.title && this.#clean(page.title), by: page.by },
      heartbeatMs: this.#heartbeatMs,
      connection: this.#connection,
      endReason: this.#endReason,
      isMidFrame: this.#reading?.isMidFrame ?? false,
      isMidLine: this.#reading?.isMidLine ?? false,
      stopped,
      failure,
    }
  }
}

function redirectOf({ status, headers }: Answer, from: URL): URL | undefined {
  const location = headers.find(([name]) => name.toLowerCase() === 'location')?.[1]
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined
  if (!URL.canParse(location, from.href)) return undefined
  const to = new URL(location, from)
  return to.protocol === 'http:' || to.protocol === 'https:' ? to : undefined
}
