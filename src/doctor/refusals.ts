import type { Finding } from './diagnosis.js'
import { recognise } from './recognise.js'
import { seconds } from './say.js'
import { byWhom, named, type Rule, type Seen, summary, whereBy } from './seen.js'
import { field, isEventStream, type Trace } from './trace.js'

/** The rules for answers that are no stream, in order. */
export const REFUSALS: readonly Rule[] = [
  { verdict: 'unreachable', judge: unreachable },
  { verdict: ['buffered-by-proxy', 'no-answer'], judge: noHead },
  { verdict: 'complete', judge: complete },
  { verdict: 'redirected', judge: redirected },
  { verdict: 'unauthorised', judge: (seen) => refusedWith(seen, [401, 403, 407], 'unauthorised', 'unauthorised') },
  { verdict: 'not-found', judge: (seen) => refusedWith(seen, [404, 410], 'not-found', 'not found') },
  { verdict: 'upstream-failed', judge: upstreamFailed },
  { verdict: 'refused', judge: refused },
  { verdict: 'not-an-event-stream', judge: notAnEventStream },
]

const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name could not be looked up just now',
  ECONNREFUSED: 'nothing listens on this port',
  ETIMEDOUT: 'nothing answered in time: a firewall, or a wrong address',
  EHOSTUNREACH: 'there is no way to this address',
  ENETUNREACH: 'there is no way to this network',
  ECONNRESET: 'the other side closed the connection',
  EPIPE: 'the other side closed the connection',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'a certificate in the chain is self-signed',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate cannot be verified: an intermediate one may be missing',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate cannot be verified: its issuer is not known here',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another name',
  EPROTO: 'what answers does not speak TLS',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what answers does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'what answers does not speak TLS',
}

const PHASES = {
  lookup: 'DNS',
  connect: 'no connection',
  tls: 'TLS',
  head: 'no answer',
  body: 'cut',
  decode: 'unreadable',
}

function unreachable({ trace, asked }: Seen): Finding | undefined {
  const { failure, head } = trace
  if (!failure || head) return undefined
  const isHttp = !failure.code.startsWith('HPE_')
  if (failure.phase === 'head' && isHttp) return undefined
  const cause = isHttp
    ? (CAUSES[failure.code] ?? failure.code)
    : 'what answers does not speak HTTP (https:// may be meant)'
  const isSame = asked !== undefined && !asked.head && asked.failure !== undefined
  return {
    verdict: 'unreachable',
    outcome: 'problem',
    line: `unreachable: ${PHASES[failure.phase]}, ${failure.code}`,
    reason: isSame ? `${cause}; the origin cannot be reached either` : cause,
    where: isSame ? 'application' : 'unknown',
    evidence: [`${failure.code} while in the phase "${failure.phase}", after ${seconds(trace.watchedMs)}`],
  }
}

function noHead({ trace, asked }: Seen): Finding | undefined {
  const { head, failure, watchedMs } = trace
  if (head) return undefined
  const waited = `connected, and no head came in ${seconds(watchedMs)}`
  const evidence = [
    failure ? `the connection was closed after ${seconds(watchedMs)} without an answer (${failure.code})` : waited,
  ]
  if (asked && isEventStream(asked) && !failure) {
    return {
      verdict: 'buffered-by-proxy',
      outcome: 'problem',
      line: 'buffered by the proxy: not even the head comes through',
      reason:
        'The origin answers at once. What is in front of it holds the head and the body, until a buffer is full or the response ends.',
      where: 'proxy',
      evidence,
    }
  }
  const where = asked === undefined ? 'unknown' : asked.head ? 'proxy' : 'application'
  const reason = {
    unknown:
      'The server may be silent, or a proxy may hold its answer. Name the origin with --origin to tell the two apart.',
    proxy: 'The origin answers, and what is in front of it does not.',
    application: 'The origin itself does not answer.',
  }[where]
  return {
    verdict: 'no-answer',
    outcome: 'problem',
    line: failure ? `no answer: closed after ${seconds(watchedMs)}` : `no answer in ${seconds(watchedMs)}`,
    reason,
    where,
    evidence,
  }
}

function complete({ trace }: Seen): Finding | undefined {
  if (trace.head?.status !== 204) return undefined
  return {
    verdict: 'complete',
    outcome: 'ok',
    line: 'complete: 204, nothing follows',
    reason: 'The stream is sealed and was read to its end: a 204 tells clients not to come back.',
    where: 'nowhere',
    evidence: ['the status is 204'],
  }
}

function redirected(seen: Seen): Finding | undefined {
  const { trace } = seen
  const last = trace.redirects.at(-1)
  if (!last || isEventStream(trace) || !trace.head || trace.head.status >= 400) return undefined
  const isLogin = /log-?in|sign-?in|auth|sso|oauth|saml/i.test(last.to)
  return {
    verdict: 'redirected',
    outcome: 'problem',
    line: `redirected${isLogin ? ' to a login' : ''}: no event stream`,
    reason: isLogin
      ? 'Who is not logged in is sent to a page. For a stream, answer 401: a client follows the redirect and reads a page as if it were the stream.'
      : 'The address leads to something that is no event stream.',
    where: whereBy(seen, ({ redirects }) => redirects.length > 0),
    evidence: [...trace.redirects.map(({ status, to }) => `${status} to ${to}`), `then ${summary(trace)}`],
  }
}

function refusedWith(
  seen: Seen,
  statuses: readonly number[],
  verdict: 'unauthorised' | 'not-found',
  words: string,
): Finding | undefined {
  const status = seen.trace.head?.status ?? 0
  if (!statuses.includes(status)) return undefined
  const where = whereBy(seen, ({ head }) => head?.status === status)
  const hint =
    verdict === 'unauthorised'
      ? seen.trace.sent.length > 0
        ? 'What was sent is not accepted.'
        : 'Pass what a client sends, with -H.'
      : 'No route has this path; a proxy may rewrite it, or send it elsewhere.'
  return {
    verdict,
    outcome: 'problem',
    line: `${words}: ${status}`,
    reason: `${answeredBy(seen, where)} ${hint}`,
    where,
    evidence: [summary(seen.trace), ...pageOf(seen.trace)],
  }
}

function upstreamFailed(seen: Seen): Finding | undefined {
  const { trace, asked } = seen
  const status = trace.head?.status ?? 0
  if (![502, 503, 504].includes(status) && !(status >= 520 && status <= 530)) return undefined
  const where = whereBy(seen, ({ head, failure }) => head?.status === status || failure !== undefined)
  const isTime = status === 504 || status === 524
  const what = isTime ? 'had no answer from the application in time' : 'could not get an answer from the application'
  const reason = {
    unknown: `The proxy ${what}${status === 503 ? ', or the application is overloaded' : ''}.`,
    proxy: `The origin can be reached from here; the proxy ${what}: look at the address it forwards to${isTime ? ', and whether the head is sent at once' : ''}.`,
    application: `The origin does not answer either (${asked?.head?.status ?? asked?.failure?.code}).`,
    nowhere: '',
  }[where]
  return {
    verdict: 'upstream-failed',
    outcome: 'problem',
    line: `upstream failed: ${status}`,
    reason,
    where,
    evidence: [summary(trace), ...pageOf(trace)],
  }
}

function refused(seen: Seen): Finding | undefined {
  const { trace } = seen
  const status = trace.head?.status ?? 0
  if (status < 400) return undefined
  const where = whereBy(seen, ({ head }) => head?.status === status)
  const hints: Readonly<Record<number, string>> = {
    405: 'A stream must answer GET.',
    406: 'It does not answer `accept: text/event-stream`.',
    426: 'It wants another protocol: a WebSocket may be meant.',
    429: 'Too many requests.',
    500: 'The application failed.',
  }
  return {
    verdict: 'refused',
    outcome: 'problem',
    line: `refused: ${status}`,
    reason: `${answeredBy(seen, where)} ${hints[status] ?? ''}`.trim(),
    where,
    evidence: [summary(trace), ...pageOf(trace)],
  }
}

function notAnEventStream(seen: Seen): Finding | undefined {
  const { trace, asked } = seen
  const isTyped = isEventStream(trace)
  const looks = trace.body
  if (
    isTyped &&
    looks !== 'html' &&
    looks !== 'json' &&
    !(looks === 'text' && trace.frames.length === 0 && trace.stopped !== 'limit')
  ) {
    return undefined
  }
  const type = field(trace, 'content-type')
  const where = whereBy(seen, (origin) => !isEventStream(origin) || (isTyped && origin.body === looks))
  const what = { none: 'an empty body', events: 'events', html: 'a page', json: 'JSON', text: 'text' }[looks]
  const name = type === undefined ? 'no content-type' : `content-type ${type}`
  const reasons = {
    typed: `The type says text/event-stream, and the body is ${what}. An error or a fallback page was sent under the stream's head.`,
    events: `The body is a stream, under ${name}: EventSource and other clients refuse it. Its type must be text/event-stream.`,
    other: `The answer is ${what}, with ${name}${looks === 'html' ? ': a page of the site, a login, or the fallback of a single-page app' : ''}.`,
  }
  const from = where === 'proxy' && asked ? ' The origin sends an event stream.' : ''
  return {
    verdict: 'not-an-event-stream',
    outcome: 'problem',
    line: `not an event stream: ${trace.head?.status === 200 ? what : trace.head?.status}${byWhom(where)}`,
    reason: reasons[isTyped ? 'typed' : looks === 'events' ? 'events' : 'other'] + from,
    where,
    evidence: [summary(trace), ...pageOf(trace)],
  }
}

function answeredBy({ trace }: Seen, where: string): string {
  if (where === 'application') return 'The origin answers the same.'
  if (where === 'proxy') return 'The origin does not answer so: it comes from what is in front of it.'
  const products = recognise(trace)
  return products.length > 0
    ? `The answer names ${named(products)}.`
    : 'It may come from the application or from a proxy.'
}

function pageOf({ page }: Trace): string[] {
  return [
    ...(page?.title ? [`the page is titled ${JSON.stringify(page.title)}`] : []),
    ...(page?.by ? [`the page is one of ${page.by}`] : []),
  ]
}
