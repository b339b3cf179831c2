import { SseError } from '../protocol/error.js'

/** What the server answered. */
export interface SendAnswer {
  readonly status: number
  /** The body of the answer; of a longer one, the first MiB. */
  readonly body: string
  /** The body, parsed. `undefined` for an empty one. @throws SyntaxError when it is not JSON. */
  json<T = unknown>(): T
}

/** The server accepted a message. */
export interface Receipt extends SendAnswer {
  /** The message's idempotency key. */
  readonly key: string
  /** How many requests it took. */
  readonly attempts: number
  /** The server had handled the message before, and repeated its answer. */
  readonly replayed: boolean
}

/** What an answer of the server means for a message. */
export type Verdict = 'accepted' | 'refresh' | 'reopen' | 'retry' | 'rejected'

export function verdictOn(status: number, retryAfter: string | null): Verdict {
  if (status >= 200 && status < 300) return 'accepted'
  if (status === 401) return 'refresh'
  if (status === 404 || status === 410) return 'reopen'
  if (status === 408 || status === 425 || status === 429 || status >= 500) return 'retry'
  // The key is in flight, and the server says when to ask again. Any other conflict stays one.
  if (status === 409 && retryAfter !== null) return 'retry'
  return 'rejected'
}

export function answerOf(status: number, body: string): SendAnswer {
  return { status, body, json: <T>() => (body === '' ? undefined : JSON.parse(body)) as T }
}

/** The error of a message that the server rejected: its answer is the `cause`. */
export function rejection(answer: SendAnswer): SseError {
  const { status } = answer
  const isRedirect = status === 0 || (status >= 300 && status < 400)
  const why = isRedirect
    ? 'The server redirects, and a message does not follow: it could turn into a GET on the way.'
    : `The server rejected the message (HTTP ${status}).`
  return new SseError('REJECTED', why, { status, cause: answer })
}
