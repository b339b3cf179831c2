import { SseError } from '../protocol/error.js'

/** What the head of a response means for the client. */
export type Verdict =
  | { readonly is: 'open' }
  | { readonly is: 'ended' }
  | { readonly is: 'refresh' }
  | { readonly is: 'retry' | 'terminal'; readonly error: SseError; readonly reason: string }

/** What the client already knows when it judges. */
export interface Known {
  /** This `EventStream` was ready once: a refusal is then more likely a deploy than a mistake. */
  readonly everReady: boolean
  /** The headers can be made anew, and were not since the stream was last ready. */
  readonly canRefresh: boolean
}

export function judge(status: number, contentType: string | null, known: Known): Verdict {
  if (status === 204) return { is: 'ended' }
  if (status === 401 && known.canRefresh) return { is: 'refresh' }
  if (status === 200 && /^\s*text\/event-stream\s*(;|$)/i.test(contentType ?? '')) return { is: 'open' }
  const error = status >= 200 && status < 300 ? notAnEventStream(status, contentType) : refused(status)
  const reason = error.code === 'HTTP_STATUS' ? `HTTP ${status}` : `not an event stream (HTTP ${status})`
  if (isTransient(status)) return { is: 'retry', error, reason }
  if (known.everReady && status !== 401) {
    return { is: 'retry', error, reason: `${reason}; tried again because the stream was ready before` }
  }
  return { is: 'terminal', error, reason }
}

function isTransient(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500
}

function refused(status: number): SseError {
  return new SseError('HTTP_STATUS', `The server answered ${status} instead of an event stream`, { status })
}

function notAnEventStream(status: number, contentType: string | null): SseError {
  const got = contentType === null ? 'no content type' : JSON.stringify(contentType.slice(0, 80))
  return new SseError(
    'NOT_AN_EVENT_STREAM',
    `Expected a 200 of type text/event-stream, got a ${status} of ${got}. Is this the address of a stream?`,
    { status },
  )
}
