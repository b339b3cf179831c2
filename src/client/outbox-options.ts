import { type Clock, systemClock } from '../protocol/clock.js'
import { bound, duration, expect, oneOf } from '../protocol/options.js'
import type { EventStream } from './event-stream.js'
import { linkOf, type StreamLink } from './link.js'
import type { OutboxItem } from './outbox-message.js'
import type { OutboxStorage } from './outbox-storage.js'
import { RequestHeaders } from './request-headers.js'

/** The longest that receipts are kept by default: a message that is sent again later could be handled twice. */
const MOST_AGE_MS = 86_400_000

/**
 * What an outbox is doing: nothing, sending, waiting (for the next attempt, the stream, or its storage), held by
 * `pause()`, or finished.
 */
export type OutboxState = 'idle' | 'sending' | 'waiting' | 'paused' | 'closed'

/** A change of an outbox or of one of its messages. */
export interface OutboxChange {
  readonly state: OutboxState
  /** How many messages are in the outbox. */
  readonly size: number
  /** The message that changed, if it was one. */
  readonly item?: OutboxItem | undefined
}

/** Hears of every change. What it throws is dropped. */
export type OutboxListener = (change: OutboxChange) => void

/** Options of {@link createOutbox}. */
export interface OutboxOptions {
  /**
   * The stream that the sends belong to. They carry its connection as `sse-connection`, a 401 refreshes the headers
   * of both, a 404 or 410 opens the stream anew, and when the stream is up again the outbox tries at once.
   */
  stream?: EventStream | undefined
  /**
   * Headers of each request, or a function that makes them, called for every attempt, and once more, at once, when
   * the server answers 401. Default: those of `stream`, if there is one. Pass your own when the two go to
   * different servers.
   */
  headers?: RequestInit['headers'] | (() => RequestInit['headers'] | Promise<RequestInit['headers']>) | undefined
  /** As in `RequestInit`. Default: what `fetch` does without. */
  credentials?: RequestInit['credentials'] | undefined
  /** The most messages, of all lanes. Default: 100. */
  maxItems?: number | undefined
  /** The most bytes that their bodies may hold together. Default: 1 MiB. */
  maxBytes?: number | undefined
  /** What a full outbox does: `reject` the new message, or drop the oldest that is not in a request. Default: `reject`. */
  overflow?: 'reject' | 'drop-oldest' | undefined
  /** Sends wait until `stream` is open; when it is closed, until they expire. Default: `false`. */
  whenReady?: boolean | undefined
  /** How long one attempt may take, from its headers to the end of the answer's body. Default: 15,000. */
  timeoutMs?: number | undefined
  /** How many answers that say "later" (408, 409 with `Retry-After`, 425, 429, 5xx) end a message. Default: 10. */
  maxAttempts?: number | undefined
  /**
   * How old a message may get, whatever it waits for, from the first `send()` on: a reload does not reset it. Must
   * not outlive the server's receipts (`ttlMs` of `memoryReceipts`, 24 hours by default), or a late attempt could be
   * handled a second time; more than 24 hours is refused. Default: 600,000.
   */
  maxAgeMs?: number | undefined
  /**
   * Where messages survive the end of the page: `webStorage(localStorage)`, `indexedDbStorage()`. A stored message goes
   * to the address it was meant for, which is the whole one, query included: only an outbox of that address takes it up. So what
   * changes from load to load, such as a token, belongs into `headers`. Default: nowhere.
   */
  storage?: OutboxStorage | undefined
  /** Default: the global `fetch`. */
  fetch?: typeof fetch | undefined
  /** Default: the runtime's time. */
  clock?: Clock | undefined
  /** The first listener, as of `onState()` of the outbox; this one misses no change. */
  onState?: OutboxListener | undefined
  /**
   * Told what goes wrong with the storage. The message is sent nevertheless; it does not survive the page. Default:
   * nobody is told.
   */
  onError?: ((error: unknown) => void) | undefined
}

/** Where the headers of the requests come from. */
export interface HeaderSource {
  /** Headers for one request: a copy. */
  make(): Promise<Headers>
  /** Makes them anew, once for all who ask; not there where that would bring the same. */
  renew?(): Promise<void>
}

/** The options, checked and completed. */
export interface OutboxSettings extends OutboxOptions {
  readonly url: string
  /** The address in full, without the fragment: whose messages are stored. */
  readonly address: string
  readonly link: StreamLink | undefined
  readonly source: HeaderSource
  readonly maxItems: number
  readonly maxBytes: number
  readonly timeoutMs: number
  readonly maxAttempts: number
  readonly maxAgeMs: number
  readonly fetch: typeof fetch
  readonly clock: Clock
}

export function readOutboxOptions(url: string | URL, options: OutboxOptions): OutboxSettings {
  expect(typeof options === 'object' && options !== null, 'options', 'to be an object', options)
  const { stream, storage, whenReady = false, credentials, clock = systemClock, fetch, onState, onError } = options
  const timeoutMs = duration('timeoutMs', options.timeoutMs, 15_000)
  const maxAgeMs = duration('maxAgeMs', options.maxAgeMs, 600_000)
  for (const [name, value] of Object.entries({ fetch: fetch ?? globalThis.fetch, onState, onError })) {
    expect(typeof value === 'function' || (value === undefined && name !== 'fetch'), name, 'to be a function', value)
  }
  expect(typeof whenReady === 'boolean', 'whenReady', 'to be true or false', whenReady)
  expect(!whenReady || stream !== undefined, 'stream', 'to be there with `whenReady`', stream)
  expect(
    storage === undefined || typeof storage?.names === 'function',
    'storage',
    'to be one such as webStorage(localStorage) or indexedDbStorage()',
    storage,
  )
  expect(
    maxAgeMs <= MOST_AGE_MS,
    'maxAgeMs',
    `to be at most ${MOST_AGE_MS} (24 hours), as long as a server keeps its receipts`,
    maxAgeMs,
  )
  oneOf('overflow', options.overflow, ['reject', 'drop-oldest'], 'reject')
  oneOf('credentials', credentials, ['omit', 'same-origin', 'include'], 'same-origin')
  const link = stream === undefined ? undefined : linkOf(stream)
  const address = readAddress(url, fetch !== undefined)
  return {
    ...options,
    // With a `fetch` of their own, users decide what an address is. Otherwise it stays the same, whatever the page's does.
    url: fetch ? String(url) : address,
    address,
    link,
    source: link && options.headers === undefined ? link.headers : readHeaders(options.headers, clock, timeoutMs),
    maxItems: bound('maxItems', options.maxItems, 100),
    maxBytes: bound('maxBytes', options.maxBytes, 1_048_576),
    timeoutMs,
    maxAttempts: bound('maxAttempts', options.maxAttempts, 10),
    maxAgeMs,
    // The global one is that of the moment of the request.
    fetch: (input, init) => (fetch ?? globalThis.fetch)(input, init),
    clock,
  }
}

function readAddress(url: string | URL, hasFetch: boolean): string {
  const scope = globalThis as { document?: { baseURI?: string }; location?: { href: string } }
  const base = scope.document?.baseURI ?? scope.location?.href
  const isAddress = URL.canParse(String(url), base)
  expect(
    (typeof url === 'string' || url instanceof URL) && (isAddress || hasFetch),
    'url',
    'to be absolute, or relative to a page',
    url,
  )
  return (isAddress ? new URL(url, base).href : String(url)).replace(/#.*/, '')
}

function readHeaders(headers: OutboxOptions['headers'], clock: Clock, timeoutMs: number): HeaderSource {
  if (typeof headers === 'function') return new RequestHeaders(headers, clock, timeoutMs)
  try {
    const copy = [...new Headers(headers)]
    return { make: async () => new Headers(copy) }
  } catch {
    // The runtime's own message quotes the value, which may be a secret.
    throw new TypeError('Expected `headers` to be names and values that HTTP can carry, or a function')
  }
}
