import { SseError } from '../protocol/error.js'
import { sseHeaders } from '../protocol/headers.js'
import { show } from '../protocol/options.js'
import type { Reason } from './connection.js'
import { type ConnectionHooks, type Hub, type HubConnection, JOIN, type JoiningHub, type JoinRequest } from './hub.js'
import { parseFrom } from './hub-options.js'
import type { From } from './reader.js'
import { guarded } from './report.js'
import type { Sink } from './sink.js'

/** What an adapter knows of a request. */
export interface Inquiry {
  readonly method: string
  /** The header `Last-Event-ID`. */
  readonly lastEventId: string | undefined
  readonly query: URLSearchParams
  /** Aborted when the client has gone. It may be made only when it is asked for. */
  readonly signal: AbortSignal
}

/** An ordinary response. */
export interface Answer {
  readonly kind: 'answer'
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** A stream: send the head, flush it, then start. */
export interface Opening {
  readonly kind: 'stream'
  readonly headers: Record<string, string>
  start(sink: Sink): void
  /** Instead of `start`, when the response can no longer be opened. */
  abandon(): void
}

/** Changes to the head of a stream: a string sets a field, `undefined` removes it. */
export type HeaderChanges = Record<string, string | undefined>

/** Decides, before the head, whether a returning client is replayed what it missed. */
export type ReplayChoice<Request> = (
  request: Request,
  context: { readonly behind: number },
) => 'replay' | 'skip' | Promise<'replay' | 'skip'>

/** How streams of a hub are served. */
export interface StreamOptions<Request> {
  /**
   * Names the stream for a request. What it throws becomes the answer: a `Response` as it is, an error
   * with `status` or `statusCode` 400–599 that status, anything else the framework's error path.
   */
  stream: (request: Request) => string | Promise<string>
  /** Where a client without a cursor begins. Default: `'now'`. */
  from?: From | undefined
  /** Whether the query `from` may choose instead. Default: `true`. */
  allowFrom?: boolean | undefined
  /**
   * Whether a client that returns with a cursor is replayed the events it is behind. `'skip'` gives it one gap
   * `limit` instead, then what follows, or the end. Default: `'replay'`.
   */
  replay?: ReplayChoice<Request> | undefined
  /** Sets or removes fields of the head, also where the answer is no stream (204, 400, 503): CORS, for one. */
  headers?: HeaderChanges | undefined
  /** Called when the stream is open. When it throws, that connection ends. */
  onOpen?: ((connection: HubConnection<Request>) => void) | undefined
  /** Called once when the connection is over. */
  onClose?: ((connection: HubConnection<Request>, reason: Reason) => void) | undefined
  /** Told of errors that have no other way out: thrown by hooks, or after the head. Default: `console.error`. */
  onError?: ((error: unknown) => void) | undefined
}

/** Joins, and says how to answer: the one way from a request to a stream of a hub. */
export async function serve<Request>(
  hub: Hub,
  request: Request,
  inquiry: Inquiry,
  options: StreamOptions<Request>,
): Promise<Answer | Opening> {
  const stream = await options.stream(request)
  const { headers: changes } = options
  const headers = streamHeaders(changes)
  if (inquiry.method === 'HEAD') return { kind: 'answer', status: 200, headers, body: '' }
  let from: From
  let pollMs: number | undefined
  try {
    from = fromOf(inquiry, options)
    pollMs = pollOf(inquiry)
  } catch (error) {
    return plain(400, (error as TypeError).message, changes)
  }
  const cursor = cursorOf(inquiry)
  const choice = new Choice(request, options.replay)
  try {
    const replay = options.replay && ((behind: number) => choice.replay(behind))
    const asked = new Asked(inquiry, { request, cursor, from, pollMs, replay })
    const joined = await joining(hub)[JOIN](stream, asked)
    if (joined.complete) {
      joined.abandon()
      return { kind: 'answer', status: 204, headers: changed({}, changes), body: '' }
    }
    return {
      kind: 'stream',
      headers,
      abandon: () => joined.abandon(),
      start(sink) {
        joined.open(sink, hooksOf(options))
      },
    }
  } catch (error) {
    if (choice.threw) throw choice.error
    if (error instanceof SseError && UNAVAILABLE.has(error.code)) return unavailable(error, changes)
    throw error
  }
}

/** What is asked of the hub, with the signal of the inquiry, which is not made before somebody waits on it. */
class Asked<Request> implements JoinRequest<Request> {
  readonly request: Request
  readonly cursor: string | undefined
  readonly from: From
  readonly pollMs: number | undefined
  readonly replay: ((behind: number) => Promise<boolean>) | undefined
  readonly #inquiry: Inquiry

  constructor(inquiry: Inquiry, asked: Omit<JoinRequest<Request>, 'signal'>) {
    this.request = asked.request
    this.cursor = asked.cursor
    this.from = asked.from
    this.pollMs = asked.pollMs
    this.replay = asked.replay
    this.#inquiry = inquiry
  }

  get signal(): AbortSignal {
    return this.#inquiry.signal
  }
}

const hooks = new WeakMap<object, ConnectionHooks<never>>()

/** The user's hooks, where nothing that they throw does harm: the same for all connections. */
function hooksOf<Request>(options: StreamOptions<Request>): ConnectionHooks<Request> {
  const present = hooks.get(options)
  if (present) return present as ConnectionHooks<Request>
  const guard = guarded(options.onError)
  const made: ConnectionHooks<Request> = {
    onOpen: (opened) => guard(() => options.onOpen?.(opened)),
    onClose: (closed, reason) => void guard(() => options.onClose?.(closed, reason)),
  }
  hooks.set(options, made as ConnectionHooks<never>)
  return made
}

/** The user's choice about replay. What it throws is the user's own, and no fault of the store it is asked amid. */
class Choice<Request> {
  readonly #request: Request
  readonly #choose: ReplayChoice<Request> | undefined
  threw = false
  error: unknown

  constructor(request: Request, choose: ReplayChoice<Request> | undefined) {
    this.#request = request
    this.#choose = choose
  }

  async replay(behind: number): Promise<boolean> {
    try {
      return (await this.#choose?.(this.#request, { behind })) !== 'skip'
    } catch (error) {
      this.threw = true
      this.error = error
      throw error
    }
  }
}

const UNAVAILABLE: ReadonlySet<string> = new Set(['JOIN_TIMEOUT', 'STORE_UNAVAILABLE', 'OVERLOADED', 'CLOSED'])

function joining(hub: Hub): JoiningHub {
  if (!(JOIN in hub)) throw new TypeError('Expected `hub` to be made by createHub() of this version of steady-sse')
  return hub as Hub & JoiningHub
}

function unavailable(error: SseError, changes: HeaderChanges | undefined): Answer {
  const retryAfter = String(1 + Math.floor(Math.random() * 5))
  return plain(503, error.code, { 'retry-after': retryAfter, ...changes })
}

function plain(status: number, body: string, changes: HeaderChanges | undefined): Answer {
  // A changed type was meant for the stream.
  const headers = { ...changed({}, changes), 'content-type': 'text/plain; charset=utf-8' }
  return { kind: 'answer', status, headers, body }
}

/** The client's cursor: the header, else the query. */
export function cursorOf({ lastEventId, query }: Pick<Inquiry, 'lastEventId' | 'query'>): string | undefined {
  return lastEventId || query.get('lastEventId') || undefined
}

function fromOf<Request>({ query }: Inquiry, options: StreamOptions<Request>): From {
  const asked = options.allowFrom === false ? null : query.get('from')
  return asked === null ? (options.from ?? 'now') : parseFrom(asked)
}

/** How long a poll may wait, in milliseconds: the query `poll` is 1 to 25 seconds, below the patience of most proxies. */
function pollOf({ query }: Inquiry): number | undefined {
  const asked = query.get('poll')
  if (asked === null) return undefined
  if (!/^([1-9]|1\d|2[0-5])$/.test(asked)) {
    throw new TypeError(`Expected the query \`poll\` to be a number of seconds from 1 to 25, got ${show(asked)}`)
  }
  return Number(asked) * 1_000
}

export function streamHeaders(changes?: HeaderChanges): Record<string, string> {
  return changed(sseHeaders(), changes)
}

function changed(headers: Record<string, string>, changes: HeaderChanges = {}): Record<string, string> {
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete headers[name.toLowerCase()]
    else if (isField(name, value)) headers[name.toLowerCase()] = value
    else throw new TypeError(`Expected \`headers\` to hold what a head can carry, got ${show(name)}: ${show(value)}`)
  }
  return headers
}

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function isField(name: string, value: unknown): value is string {
  return typeof value === 'string' && FIELD_NAME.test(name) && FIELD_VALUE.test(value)
}

/** Whether it is a `Response`, of whichever class: some servers put their own in the place of the global one. */
export function isResponse(value: unknown): value is Response {
  return Object.prototype.toString.call(value) === '[object Response]'
}

/** What an error thrown before the head means: a status that it names, or `undefined`. */
export function statusOf(error: unknown): { status: number; headers: Record<string, string> } | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { status, statusCode, headers } = error as { status?: unknown; statusCode?: unknown; headers?: unknown }
  const code = typeof status === 'number' ? status : statusCode
  if (typeof code !== 'number' || !Number.isInteger(code) || code < 400 || code > 599) return undefined
  const plain = typeof headers === 'object' && headers !== null ? Object.entries(headers) : []
  return {
    status: code,
    headers: Object.fromEntries(plain.filter(([name, value]) => isField(name, value) && isPassedOn(name))),
  }
}

/** An error may carry the head of someone else's response: what describes that body, or is secret, stays behind. */
function isPassedOn(name: string): boolean {
  return !/^(content-.*|set-cookie2?|transfer-encoding|connection|keep-alive|upgrade)$/i.test(name)
}

/** Checks at creation what would otherwise fail at the first request. */
export function checkStreamOptions<Request>(options: StreamOptions<Request>): void {
  if (typeof options?.stream !== 'function') {
    throw new TypeError(`Expected \`stream\` to be a function that names the stream, got ${show(options?.stream)}`)
  }
  parseFrom(options.from ?? 'now')
  streamHeaders(options.headers)
}
