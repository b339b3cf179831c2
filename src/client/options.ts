import { type Clock, systemClock } from '../protocol/clock.js'
import type { SseError } from '../protocol/error.js'
import { bound, duration, named, oneOf, show } from '../protocol/options.js'

/** What an `EventStream` is doing: asking, receiving, waiting to ask again, or finished. */
export type ConnectState = 'connecting' | 'open' | 'waiting' | 'closed'

/** A change of an `EventStream`'s state. */
export interface StateChange {
  readonly state: ConnectState
  /** How the server is asked: for a response that stays open, or for one batch at a time. */
  readonly mode: 'stream' | 'poll'
  /** The number of the attempt, from 1; 0 when there was none. */
  readonly attempt: number
  /** Why, in a few words. Holds neither the address nor what stands in a header of the request. */
  readonly reason?: string | undefined
  /** With `waiting`: milliseconds until the next attempt. */
  readonly delayMs?: number | undefined
}

/**
 * Hears of every change of state. What it throws is dropped: to watch a stream must not be able to
 * break it.
 */
export type StateListener = (change: StateChange) => void

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Default: `GET`. */
  method?: string | undefined
  /** Sent with every attempt, so it cannot be a `ReadableStream`. Needs a `method` that allows one. */
  body?: Exclude<BodyInit, ReadableStream> | null | undefined
  /**
   * Headers of the request, or a function that makes them, called for every attempt. A function is
   * called once more, at once, when the server answers 401.
   */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>) | undefined
  /** As in `RequestInit`. Default: what `fetch` does without. */
  credentials?: RequestCredentials | undefined
  /** The place to resume from: an earlier `EventStream`'s `cursor`. Default: none. */
  cursor?: string | null | undefined
  /** Where a stream starts for a client without a cursor. Default: the server's choice. */
  from?: 'now' | 'earliest' | `last:${number}` | undefined
  /** Aborting it is `close()`. */
  signal?: AbortSignal | undefined
  /** Default: the global `fetch`. */
  fetch?: typeof fetch | undefined
  /** Default: the runtime's time. */
  clock?: Clock | undefined
  /** The largest event, in bytes on the wire, comments included; a larger one is the end. Default: 16 MiB. */
  maxEventBytes?: number | undefined
  /** Reading stops when items of about this many bytes wait for the consumer, until half are taken. Default: 1 MiB. */
  maxBufferedBytes?: number | undefined
  /** How long an attempt may take to bring the head of a response, the `headers` function included. Default: 10,000. */
  connectTimeoutMs?: number | undefined
  /**
   * How long an open response may bring no byte. Default: three times the heartbeat that the server
   * announces; 300,000 while it announces none.
   */
  silenceMs?: number | undefined
  /**
   * What to do where a proxy holds a stream back: poll the same address for one batch at a time, until streaming
   * works again, or nothing. Only a GET polls. Default: `'poll'`.
   */
  fallback?: 'poll' | 'none' | undefined
  /**
   * Where to tell the server what the consumer has finished: the address of its `acknowledge`, which may be relative
   * to that of the stream. It is sent with the same headers, at most once a second, and only when there is something
   * new to say; what becomes of it changes nothing here. Default: nowhere.
   */
  acks?: string | URL | undefined
  /**
   * Overrules which refusals (`HTTP_STATUS`, `NOT_AN_EVENT_STREAM`) are final; `undefined` keeps the
   * default. What it throws is dropped, and the default kept.
   */
  isTerminal?: ((error: SseError) => boolean | undefined) | undefined
  /** The first listener, as of {@link EventStream.onState}; this one misses no change. */
  onState?: StateListener | undefined
}

/** The options, checked and completed. */
export interface Settings {
  readonly url: string
  readonly init: RequestInit
  readonly headers: () => HeadersInit | Promise<HeadersInit>
  readonly canRefresh: boolean
  readonly cursor: string | null
  readonly byQuery: boolean
  readonly from: string | undefined
  readonly signal: AbortSignal | undefined
  readonly fetch: typeof fetch
  readonly clock: Clock
  readonly maxEventBytes: number
  readonly maxBufferedBytes: number
  readonly connectTimeoutMs: number
  readonly silenceMs: number | undefined
  readonly fallback: 'poll' | 'none'
  readonly acks: string | undefined
  readonly isTerminal: (error: SseError) => boolean | undefined
  readonly onState: StateListener | undefined
}

const MIB = 1_048_576

export function readOptions(url: string | URL, options: ConnectOptions): Settings {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected \`options\` to be an object, got ${show(options)}`)
  }
  const { signal, silenceMs, from } = options
  const fetch = callable('fetch', options.fetch)
  const headers = readHeaders(options.headers)
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new TypeError(`Expected \`signal\` to be an AbortSignal, got ${show(signal)}`)
  }
  return {
    ...readUrl(url, fetch !== undefined),
    init: readInit(options),
    headers,
    canRefresh: typeof options.headers === 'function',
    cursor: readCursor(options.cursor),
    from: from === undefined ? undefined : named('from', from),
    signal,
    fetch: fetch ? (input, init) => fetch(input, init) : globalFetch(),
    clock: options.clock ?? systemClock,
    maxEventBytes: bound('maxEventBytes', options.maxEventBytes, 16 * MIB),
    maxBufferedBytes: bound('maxBufferedBytes', options.maxBufferedBytes, MIB),
    connectTimeoutMs: duration('connectTimeoutMs', options.connectTimeoutMs, 10_000),
    silenceMs: silenceMs === undefined ? undefined : duration('silenceMs', silenceMs, silenceMs),
    fallback: readFallback(options),
    acks: readAcks(options.acks, url, fetch !== undefined),
    isTerminal: callable('isTerminal', options.isTerminal) ?? (() => undefined),
    onState: callable('onState', options.onState),
  }
}

function readUrl(url: string | URL, hasFetch: boolean): { url: string; byQuery: boolean } {
  if (typeof url !== 'string' && !(url instanceof URL)) {
    throw new TypeError(`Expected \`url\` to be a string or a URL, got ${show(url)}`)
  }
  const text = String(url)
  const location = pageLocation()
  const absolute = parseUrl(text, location?.href)
  if (absolute === null) {
    // With a `fetch` of their own, users decide what an address is.
    if (hasFetch) return { url: text, byQuery: false }
    throw new TypeError(
      'Expected `url` to be absolute, as there is no page it could be relative to. Begin it with https://',
    )
  }
  assertFetchable('url', absolute, hasFetch)
  // Across origins the header would need a preflight that appears only on reconnect.
  return { url: text, byQuery: location !== undefined && absolute.origin !== location.origin }
}

function readAcks(acks: unknown, url: string | URL, hasFetch: boolean): string | undefined {
  if (acks === undefined) return undefined
  if (typeof acks !== 'string' && !(acks instanceof URL)) {
    throw new TypeError(`Expected \`acks\` to be a string or a URL, got ${show(acks)}`)
  }
  const absolute = parseUrl(String(acks), parseUrl(String(url), pageLocation()?.href)?.href)
  // Without a base, the stream's own address is one for the user's `fetch`, and so is this.
  if (absolute === null) return String(acks)
  assertFetchable('acks', absolute, hasFetch)
  return absolute.href
}

function assertFetchable(name: string, { username, password, protocol }: URL, hasFetch: boolean): void {
  if (username !== '' || password !== '') {
    throw new TypeError(
      `Expected \`${name}\` to hold no user name and no password, which fetch refuses. Send them in \`headers\`.`,
    )
  }
  if (!hasFetch && protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`Expected \`${name}\` to begin with http: or https:, got ${show(protocol)}`)
  }
}

function pageLocation(): { href: string; origin: string } | undefined {
  return (globalThis as { location?: Location }).location
}

function parseUrl(url: string, base: string | undefined): URL | null {
  try {
    return new URL(url, base)
  } catch {
    return null
  }
}

function readInit({ method, body, credentials }: ConnectOptions): RequestInit {
  if (method !== undefined) named('method', method)
  if (credentials !== undefined) oneOf('credentials', credentials, ['omit', 'same-origin', 'include'], 'same-origin')
  const hasBody = body !== undefined && body !== null
  if (hasBody && /^(get|head)$/i.test(method ?? 'GET')) {
    throw new TypeError(
      `Expected no \`body\` with the method ${(method ?? 'GET').toUpperCase()}. Set \`method\` to 'POST'.`,
    )
  }
  if (typeof ReadableStream !== 'undefined' && (body as unknown) instanceof ReadableStream) {
    throw new TypeError(
      'Expected `body` to be sendable with every attempt, got a ReadableStream. Pass a string or bytes.',
    )
  }
  return {
    // As the HTML standard has it. Where requests have no such field, `fetch` may refuse it: older workerd does.
    ...('cache' in Request.prototype && { cache: 'no-store' as const }),
    ...(method !== undefined && { method }),
    ...(hasBody && { body }),
    ...(credentials !== undefined && { credentials }),
  }
}

/** What is sent with another method may do something each time it is asked for. */
function readFallback({ fallback, method = 'GET' }: ConnectOptions): 'poll' | 'none' {
  const chosen = oneOf('fallback', fallback, ['poll', 'none'], 'poll')
  return /^get$/i.test(method) ? chosen : 'none'
}

function readHeaders(headers: ConnectOptions['headers']): Settings['headers'] {
  if (typeof headers === 'function') return headers
  if (headers !== undefined && (typeof headers !== 'object' || headers === null)) {
    throw new TypeError(`Expected \`headers\` to be an object or a function, got ${show(headers)}`)
  }
  try {
    const copy = [...new Headers(headers)]
    return () => copy
  } catch {
    // The runtime's own message quotes the value, which may be a secret.
    throw new TypeError('Expected `headers` to hold names and values that HTTP can carry')
  }
}

function readCursor(cursor: unknown): string | null {
  if (cursor === undefined || cursor === null) return null
  if (typeof cursor !== 'string') throw new TypeError(`Expected \`cursor\` to be a string or null, got ${show(cursor)}`)
  return cursor || null
}

function callable<T>(name: string, value: T | undefined): T | undefined {
  if (value !== undefined && typeof value !== 'function') {
    throw new TypeError(`Expected \`${name}\` to be a function, got ${show(value)}`)
  }
  return value
}

function globalFetch(): typeof fetch {
  if (typeof globalThis.fetch !== 'function') {
    throw new TypeError('Expected a global `fetch`, and there is none. Pass one as the option `fetch`.')
  }
  // Looked up for every attempt, so that what replaces it later (a mock, an instrumentation) is used.
  return (input, init) => globalThis.fetch(input, init)
}
