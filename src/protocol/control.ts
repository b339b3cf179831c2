import type { Cursor } from './cursor.js'
import { encodeEvent } from './encode.js'
import type { GapReason } from './event.js'

/** Events under this prefix are the library's own. */
export const CONTROL_PREFIX = 'stream:'
export const READY = 'stream:ready'
export const GAP = 'stream:gap'
export const END = 'stream:end'
export const HEARTBEAT = 'stream:heartbeat'

/** Only `sealed` ends a stream; after the others the client comes back. */
export type EndReason = 'sealed' | 'shutdown' | 'maxAge' | 'error'

/** What the first frame of a stream says. */
export interface Ready {
  /** The connection's name, new for every response. */
  connection?: string | undefined
  /** Whether the client's cursor was honoured; absent where there is nothing to resume. */
  resumed?: 'new' | 'ok' | 'gap' | undefined
  heartbeatMs: number
  /** The server's time, in milliseconds since the Unix epoch. */
  time: number
}

export interface Gap {
  reason: GapReason
  missed: number | null
}

/**
 * @param cursor - the place the stream starts from. Left out when a gap follows: its frame is then
 * the first with an id, so that a cut between the two cannot swallow the announcement.
 */
export function encodeReady(ready: Ready, retry: number, cursor?: Cursor): string {
  return encodeEvent({ retry, event: READY, data: JSON.stringify(ready), id: cursor })
}

export function encodeGap(gap: Gap, cursor: Cursor): string {
  return encodeEvent({ event: GAP, data: gapData(gap), id: cursor })
}

export function gapData({ reason, missed }: Gap): string {
  return JSON.stringify({ reason, missed })
}

export function encodeEnd(reason: EndReason): string {
  return encodeEvent({ event: END, data: JSON.stringify({ reason }) })
}

const GAP_REASONS: readonly string[] = ['invalid', 'epoch', 'ahead', 'expired', 'diverged', 'limit', 'source']

/** Reads the data of `stream:ready`; whatever is not as it should be is left out. */
export function parseReady(data: string): Partial<Ready> {
  const { connection, resumed, heartbeatMs, time } = parseObject(data)
  return {
    connection: typeof connection === 'string' ? connection : undefined,
    resumed: resumed === 'new' || resumed === 'ok' || resumed === 'gap' ? resumed : undefined,
    ...(isDuration(heartbeatMs) && { heartbeatMs }),
    ...(isDuration(time) && { time }),
  }
}

/** Reads the data of `stream:gap`. A loss stays a loss when its reason is not understood. */
export function parseGap(data: string): Gap {
  const { reason, missed } = parseObject(data)
  return {
    reason: GAP_REASONS.includes(reason as string) ? (reason as GapReason) : 'invalid',
    missed: Number.isSafeInteger(missed) && (missed as number) >= 0 ? (missed as number) : null,
  }
}

/** Reads the data of `stream:end`. What is not understood is no seal: the client comes back. */
export function parseEnd(data: string): EndReason {
  const { reason } = parseObject(data)
  return reason === 'sealed' || reason === 'shutdown' || reason === 'maxAge' ? reason : 'error'
}

function isDuration(value: unknown): value is number {
  return Number.isFinite(value) && (value as number) > 0
}

function parseObject(data: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(data))
  } catch {
    return {}
  }
}
