/** What a probe saw of one response. Plain data: it can be kept as JSON and judged later by `diagnose`. */
export interface Trace {
  /** Without user, password, fragment and the values of the query. */
  readonly url: string
  /** When the probe began, in milliseconds since the Unix epoch. Every other `ms` is counted from here. */
  readonly startedAt: number
  /** How long it was watched, at most and in fact. */
  readonly limitMs: number
  readonly watchedMs: number
  /** The names of the header fields that were sent. */
  readonly sent: readonly string[]
  readonly redirects: readonly Redirect[]
  /** When the connection stood (with TLS); absent when it never did. */
  readonly connectMs?: number | undefined
  readonly head?: Head | undefined
  /** The bytes as they came, still compressed where they are. */
  readonly chunks: readonly Chunk[]
  readonly frames: readonly Frame[]
  /** What the body is by its looks, whatever its type says. */
  readonly body: 'none' | 'events' | 'html' | 'json' | 'text'
  /** Of a page that is no stream: its title, and the product that signs it. */
  readonly page?: Page | undefined
  /** The interval that `stream:ready` announced. */
  readonly heartbeatMs?: number | undefined
  /** A hash of the connection's name in `stream:ready`: a shared or cached response has the same twice. */
  readonly connection?: number | undefined
  /** Why the last thing sent was `stream:end`. */
  readonly endReason?: string | undefined
  /** Bytes of an unfinished frame were left over. */
  readonly isMidFrame: boolean
  /** They do not even end with a line. */
  readonly isMidLine: boolean
  /**
   * Why it is over: the time is up; enough was seen; the response ended in order, or was cut; no response came; the
   * trace is full; the caller's signal.
   */
  readonly stopped: 'limit' | 'settled' | 'ended' | 'cut' | 'failed' | 'full' | 'aborted'
  readonly failure?: Failure | undefined
  /** The same address, asked for without compression, when the answer was compressed. */
  readonly plain?: Trace | undefined
}

/** One step from an address to another. */
export interface Redirect {
  readonly status: number
  readonly to: string
}

/** The head of the response. */
export interface Head {
  readonly ms: number
  readonly status: number
  readonly httpVersion: string
  /** As they were spelled, in order. Values are kept of fields that tell about the path, and are `…` for all others. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** Bytes that arrived in one piece. */
export interface Chunk {
  readonly ms: number
  readonly bytes: number
  /** It ended within a frame. Unknown (false) for compressed bytes. */
  readonly isMidFrame: boolean
}

/** `fields`: a block without data, such as `retry`. `heartbeat`: what carries the server's time, a comment of other servers as well. */
export type FrameKind = 'ready' | 'heartbeat' | 'comment' | 'event' | 'gap' | 'end' | 'fields'

/** An event or a comment, without what it says. */
export interface Frame {
  readonly ms: number
  readonly kind: FrameKind
  readonly bytes: number
  /** When the server sent it, by its own clock. */
  readonly sentAt?: number | undefined
  /** A hash of its content, by which the same event is known on two connections. */
  readonly mark: number
}

/** What an answer that is no stream says of itself. */
export interface Page {
  readonly title?: string | undefined
  readonly by?: string | undefined
}

/** Where and why the network failed. */
export interface Failure {
  readonly phase: 'lookup' | 'connect' | 'tls' | 'head' | 'body' | 'decode'
  /** The system's or Node's code, as `ECONNREFUSED`. */
  readonly code: string
}

/** The first field of this name, in lower case; `undefined` when there is none. */
export function field(trace: Trace, name: string): string | undefined {
  return trace.head?.headers.find(([each]) => each.toLowerCase() === name)?.[1]
}

/** Every field of this name, joined as HTTP joins them. */
export function fields(trace: Trace, name: string): string {
  const found = trace.head?.headers.filter(([each]) => each.toLowerCase() === name) ?? []
  return found.map(([, value]) => value).join(', ')
}

export function isEventStream(trace: Trace): boolean {
  const [type = ''] = (field(trace, 'content-type') ?? '').split(';')
  return trace.head?.status === 200 && type.trim().toLowerCase() === 'text/event-stream'
}

/** The coding of the body, if it has one that changes bytes. */
export function codingOf(trace: Trace): string | undefined {
  const coding = fields(trace, 'content-encoding').trim().toLowerCase()
  return coding === '' || coding === 'identity' ? undefined : coding
}
