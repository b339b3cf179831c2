import { type Clock, systemClock } from '../protocol/clock.js'
import { bound, duration, oneOf, show } from '../protocol/options.js'
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
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>) | undefined
  /** As in `RequestInit`. Default: what `fetch` does without. */
  credentials?: RequestCredentials | undefined
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

/** The stream that an outbox is linked to. */
export interface Linked {
  readonly stream: EventStream
  readonly link: StreamLink
}

/** Where the headers of the requests come from. */
export interface RequestSource {
  /** Headers for one request: a copy. */
  make(): Promise<Headers>
  /** Makes them anew, once for all who ask; `undefined` where that would bring the same. */
  readonly renew: (() => Promise<void>) | undefined
}

/** The options, checked and completed. */
export interface OutboxSettings {
  readonly url: string
  /** The address in full, without the fragment: whose messages are stored. */
  readonly address: string
  readonly linked: Linked | undefined
  readonly headers: RequestSource
  readonly credentials: RequestCredentials | undefined
  readonly maxItems: number
  readonly maxBytes: number
  readonly dropsOldest: boolean
  readonly whenReady: boolean
  readonly timeoutMs: number
  readonly maxAttempts: number
  readonly maxAgeMs: number
  readonly storage: OutboxStorage | undefined
  readonly fetch: typeof fetch
  readonly clock: Clock
  readonly onState: OutboxListener | undefined
  readonly onError: (error: unknown) => void
}

export function readOutboxOptions(url: string | URL, options: OutboxOptions): OutboxSettings {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected \`options\` to be an object, got ${show(options)}`)
  }
  const { stream, storage, whenReady = false, credentials, clock = systemClock } = options
  const timeoutMs = duration('timeoutMs', options.timeoutMs, 15_000)
  const fetch = callable('fetch', options.fetch)
  if (typeof whenReady !== 'boolean') {
    throw new TypeError(`Expected \`whenReady\` to be true or false, got ${show(whenReady)}`)
  }
  if (whenReady && stream === undefined) {
    throw new TypeError('Expected a `stream` beside `whenReady`: without one there is nothing to wait for')
  }
  if (storage !== undefined && typeof storage?.names !== 'function') {
    throw new TypeError(
      `Expected \`storage\` to be one such as webStorage(localStorage) or indexedDbStorage(), got ${show(storage)}`,
    )
  }
  const linked = stream === undefined ? undefined : { stream, link: linkOf(stream) }
  if (credentials !== undefined) oneOf('credentials', credentials, ['omit', 'same-origin', 'include'], 'same-origin')
  const address = readAddress(url, fetch !== undefined)
  return {
    // With a `fetch` of their own, users decide what an address is. Otherwise it stays the same, whatever the page's does.
    url: fetch ? String(url) : address,
    address,
    linked,
    headers: readHeaders(options.headers, linked, clock, timeoutMs),
    credentials,
    maxItems: bound('maxItems', options.maxItems, 100),
    maxBytes: bound('maxBytes', options.maxBytes, 1_048_576),
    dropsOldest: oneOf('overflow', options.overflow, ['reject', 'drop-oldest'], 'reject') === 'drop-oldest',
    whenReady,
    timeoutMs,
    maxAttempts: bound('maxAttempts', options.maxAttempts, 10),
    maxAgeMs: readAge(options.maxAgeMs),
    storage,
    fetch: fetch ? (input, init) => fetch(input, init) : globalFetch(),
    clock,
    onState: callable('onState', options.onState),
    onError: callable('onError', options.onError) ?? (() => {}),
  }
}

function readAge(maxAgeMs: number | undefined): number {
  const ms = duration('maxAgeMs', maxAgeMs, 600_000)
  if (ms <= MOST_AGE_MS) return ms
  throw new TypeError(
    `Expected \`maxAgeMs\` to be at most ${MOST_AGE_MS} (24 hours), as long as a server keeps its receipts, got ${ms}`,
  )
}

function readAddress(url: string | URL, hasFetch: boolean): string {
  if (typeof url !== 'string' && !(url instanceof URL)) {
    throw new TypeError(`Expected \`url\` to be a string or a URL, got ${show(url)}`)
  }
  const scope = globalThis as { document?: { baseURI?: string }; location?: { href: string } }
  const base = scope.document?.baseURI ?? scope.location?.href
  if (URL.canParse(String(url), base)) {
    const address = new URL(url, base)
    address.hash = ''
    return address.href
  }
  if (hasFetch) return String(url).replace(/#.*/, '')
  throw new TypeError('Expected `url` to be absolute, as there is no page it could be relative to')
}

function readHeaders(
  headers: OutboxOptions['headers'],
  linked: Linked | undefined,
  clock: Clock,
  timeoutMs: number,
): RequestSource {
  if (typeof headers === 'function') {
    const source = new RequestHeaders(headers, clock, timeoutMs)
    return { make: () => source.make(), renew: () => source.renew() }
  }
  if (headers === undefined) {
    return linked
      ? { make: () => linked.link.headers(), renew: () => linked.link.refresh() }
      : { make: async () => new Headers(), renew: undefined }
  }
  if (typeof headers !== 'object' || headers === null) {
    throw new TypeError(`Expected \`headers\` to be an object or a function, got ${show(headers)}`)
  }
  try {
    const copy = [...new Headers(headers)]
    return { make: async () => new Headers(copy), renew: undefined }
  } catch {
    // The runtime's own message quotes the value, which may be a secret.
    throw new TypeError('Expected `headers` to hold names and values that HTTP can carry')
  }
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
  return (input, init) => globalThis.fetch(input, init)
}
