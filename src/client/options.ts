import { type Clock, systemClock } from '../protocol/clock.js'
import type { SseError } from '../protocol/error.js'
import { bound, duration, expect, named, oneOf } from '../protocol/options.js'
import type { MakeHeaders } from './request-headers.js'

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
  body?: Exclude<RequestInit['body'], ReadableStream> | undefined
  /**
   * Headers of the request, or a function that makes them, called for every attempt. A function is
   * called once more, at once, when the server answers 401.
   */
  headers?: RequestInit['headers'] | (() => RequestInit['headers'] | Promise<RequestInit['headers']>) | undefined
  /** As in `RequestInit`. Default: what `fetch` does without. */
  credentials?: RequestInit['credentials'] | undefined
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
  readonly headers: MakeHeaders
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
  readonly mayPoll: boolean
  readonly acks: string | undefined
  readonly isTerminal: ConnectOptions['isTerminal']
  readonly onState: StateListener | undefined
}

const MIB = 1_048_576

export function readOptions(url: string | URL, options: ConnectOptions): Settings {
  expect(isObject(options), 'options', 'to be an object', options)
  const { cursor = null, from, signal, acks, fetch, isTerminal, onState } = options
  for (const name of ['fetch', 'isTerminal', 'onState'] as const) {
    const given = options[name]
    expect(given === undefined || typeof given === 'function', name, 'to be a function', given)
  }
  expect(!!(fetch ?? globalThis.fetch), 'fetch', 'to be given, as there is no global one', fetch)
  expect(cursor === null || typeof cursor === 'string', 'cursor', 'to be a string or null', cursor)
  expect(
    signal === undefined || typeof signal?.addEventListener === 'function',
    'signal',
    'to be an AbortSignal',
    signal,
  )
  const page = (globalThis as { location?: Location }).location
  const address = readAddress('url', url, page?.href, fetch)
  const init = readInit(options)
  const fallback = oneOf('fallback', options.fallback, ['poll', 'none'], 'poll')
  return {
    url: String(url),
    init,
    headers: readHeaders(options.headers),
    canRefresh: typeof options.headers === 'function',
    cursor: cursor || null,
    // Across origins the header would need a preflight that appears only on reconnect.
    byQuery: page !== undefined && address !== undefined && address.origin !== page.origin,
    from: from === undefined ? undefined : named('from', from),
    signal,
    // The global one is looked up for every attempt, so that what replaces it later (a mock, an instrumentation) is used.
    fetch: (input, init) => (fetch ?? globalThis.fetch)(input, init),
    clock: options.clock ?? systemClock,
    maxEventBytes: bound('maxEventBytes', options.maxEventBytes, 16 * MIB),
    maxBufferedBytes: bound('maxBufferedBytes', options.maxBufferedBytes, MIB),
    connectTimeoutMs: duration('connectTimeoutMs', options.connectTimeoutMs, 10_000),
    silenceMs: duration('silenceMs', options.silenceMs, undefined),
    // What is sent with another method may do something each time it is asked for.
    mayPoll: fallback === 'poll' && init.method === 'GET',
    acks: acks === undefined ? undefined : String(readAddress('acks', acks, address?.href, fetch) ?? acks),
    isTerminal,
    onState,
  }
}

/** The address in full; `undefined` where it is relative to nothing, and one for the user's `fetch` to understand. */
function readAddress(name: string, url: unknown, base: string | undefined, userFetch: unknown): URL | undefined {
  expect(typeof url === 'string' || url instanceof URL, name, 'to be a string or a URL', url)
  const text = String(url)
  if (!URL.canParse(text, base)) {
    if (userFetch) return undefined
    throw new TypeError(
      `Expected \`${name}\` to be absolute, as there is no page it could be relative to. Begin it with https://`,
    )
  }
  const address = new URL(text, base)
  if (address.username || address.password) {
    throw new TypeError(
      `Expected \`${name}\` to hold no user name and no password, which fetch refuses. Send them in \`headers\`.`,
    )
  }
  const { protocol } = address
  expect(!!userFetch || /^https?:$/.test(protocol), name, 'to begin with http: or https:', protocol)
  return address
}

function readInit({ method = 'GET', body, credentials }: ConnectOptions): RequestInit {
  oneOf('credentials', credentials, ['omit', 'same-origin', 'include'], undefined)
  const verb = named('method', method).toUpperCase()
  if (body !== undefined && body !== null && (verb === 'GET' || verb === 'HEAD')) {
    throw new TypeError(`Expected no \`body\` with the method ${verb}. Set \`method\` to 'POST'.`)
  }
  if ((body as unknown) instanceof ReadableStream) {
    throw new TypeError(
      'Expected `body` to be sendable with every attempt, got a ReadableStream. Pass a string or bytes.',
    )
  }
  return {
    method: verb === 'GET' ? verb : method,
    body: body ?? null,
    ...(credentials !== undefined && { credentials }),
    // As the HTML standard has it. Where requests have no such field, `fetch` may refuse it: older workerd does.
    ...('cache' in Request.prototype && { cache: 'no-store' as const }),
  }
}

function readHeaders(headers: ConnectOptions['headers']): Settings['headers'] {
  if (typeof headers === 'function') return headers
  expect(headers === undefined || isObject(headers), 'headers', 'to be an object or a function', headers)
  try {
    const copy = new Headers(headers)
    return () => copy
  } catch {
    // The runtime's own message quotes the value, which may be a secret.
    throw new TypeError('Expected `headers` to hold names and values that HTTP can carry')
  }
}

function isObject(value: unknown): boolean {
  return Object(value) === value
}
