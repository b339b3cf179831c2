import { SseError } from '../protocol/error.js'

/** What the server answered. */
export interface SendAnswer {
  readonly status: number
  /** The body of the answer; of a longer one, the first MiB. */
  readonly body: string
  /** The body, parsed. `undefined` for an empty one. @throws SyntaxError when it is not JSON. */
  json<T = unknown>(): T
}

/** What the server rejected a message with: the `cause` of its error. */
export interface Rejection extends SendAnswer {
  /**
   * An earlier attempt got no answer, or a gateway's, so the server may have handled the message before it rejected
   * this one, as when a session ends between the two.
   */
  readonly mayHaveArrived: boolean
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
export type Verdict = 'accepted' | 'refresh' | 'reopen' | 'retry' | 'unsettled' | 'rejected'

/**
 * All but `unsettled` say what became of the request. A gateway's answer (502, 504, and others above) does not, as the
 * server behind it may be handling the message, and a 409 that says when to come back does not, either: an attempt is
 * being handled. Any other conflict stays one.
 */
export function verdictOn(status: number, retryAfter: string | null): Verdict {
  if (status >= 200 && status < 300) return 'accepted'
  if (status === 401) return 'refresh'
  if (status === 404 || status === 410) return 'reopen'
  if (status === 502 || status >= 504 || (status === 409 && retryAfter !== null)) return 'unsettled'
  if (status >= 500 || [408, 425, 429].includes(status)) return 'retry'
  return 'rejected'
}

export function answerOf(status: number, body: string): SendAnswer {
  return { status, body, json: <T>() => (body === '' ? undefined : JSON.parse(body)) as T }
}

/** The error of a message that the server rejected: its answer is the `cause`. */
export function rejection(answer: SendAnswer, mayHaveArrived: boolean): SseError {
  const { status } = answer
  const cause: Rejection = { ...answer, mayHaveArrived }
  const redirects = status < 400 ? ', and redirects are not followed' : ''
  return new SseError(
    'REJECTED',
    reason(`The server rejected the message (HTTP ${status}${redirects})`, mayHaveArrived),
    { status, cause },
  )
}

/** Why a message failed, with what its sender has to know. */
export function reason(why: string, mayHaveArrived: boolean): string {
  return `${why}${mayHaveArrived ? ', and an attempt may have arrived' : ''}.`
}
