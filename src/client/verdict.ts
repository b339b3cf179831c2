import { SseError } from '../protocol/error.js'
import { show } from '../protocol/options.js'
import type { Outcome } from './outcome.js'

/** What the head of a response means for the client: the end of the attempt, or none. */
export type Verdict = { readonly is: 'open' } | Outcome

/** What the client already knows when it judges. */
export interface Known {
  /** This `EventStream` was ready once: a refusal is then more likely a deploy than a mistake. */
  readonly everReady: boolean
  /** The headers can be made anew, and were not since the stream was last ready. */
  readonly canRefresh: boolean
  /** What the head asks to wait. */
  readonly retryAfterMs?: number
}

export function judge(status: number, contentType: string | null, known: Known): Verdict {
  const { everReady, canRefresh, retryAfterMs } = known
  const type = contentType ?? 'none'
  if (status === 204) return { is: 'ended', reason: 'the server has nothing more (204)' }
  if (status === 401 && canRefresh) return { is: 'refresh' }
  if (status === 200 && /^\s*text\/event-stream\s*(;|$)/i.test(type)) return { is: 'open' }
  const isOk = status >= 200 && status < 300
  const error = new SseError(
    isOk ? 'NOT_AN_EVENT_STREAM' : 'HTTP_STATUS',
    `Expected a 200 of type text/event-stream, got a ${status} of ${show(type)}. Is this the address of a stream?`,
    { status },
  )
  const reason = isOk ? `not an event stream (HTTP ${status})` : `HTTP ${status}`
  const isTransient = status === 408 || status === 425 || status === 429 || status >= 500
  const isLikelyDeploy = !isTransient && everReady && status !== 401
  return {
    is: isTransient || isLikelyDeploy ? 'retry' : 'terminal',
    error,
    reason: isLikelyDeploy ? `${reason}; tried again because the stream was ready before` : reason,
    retryAfterMs,
  }
}
