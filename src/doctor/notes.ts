import { lostHints } from './hints.js'
import { leastDelay } from './lateness.js'
import { seconds } from './say.js'
import { type Seen, summary } from './seen.js'
import { field, fields, isEventStream } from './trace.js'

/** What is worth knowing beside the verdict. */
export function notesOn(seen: Seen): string[] {
  const { trace, asked, origin, proxies } = seen
  const notes: string[] = []
  const { head } = trace
  if (asked) notes.push(`the origin: ${summary(asked)}`)
  if (asked && !asked.head) notes.push('the origin could not be compared with: it gave no answer from here')
  if (trace.stopped === 'aborted') notes.push('the probe was ended early')
  if (trace.redirects.length > 0 && isEventStream(trace)) {
    notes.push(
      `redirected: ${trace.redirects.map(({ status, to }) => `${status} to ${to}`).join(', ')}. Clients lose headers on the way to another origin`,
    )
  }
  if (!head || !isEventStream(trace)) return notes
  const { lost, isConsumed } = lostHints(seen)
  if (isConsumed && lost.length > 0) {
    notes.push(
      'x-accel-buffering: no did not arrive: an nginx that heeds it removes it, and a second nginx in front of that one would hold the stream',
    )
  }
  const isHinted = /\bno-transform\b/i.test(fields(trace, 'cache-control'))
  if (!isHinted && lost.length === 0)
    notes.push('cache-control has no no-transform: what compresses on the way may take hold of the stream')
  if (!isHinted && lost.length === 0 && field(trace, 'x-accel-buffering') === undefined && !proxies.includes('nginx')) {
    notes.push('there is no x-accel-buffering: no, without which an nginx holds the stream')
  }
  if (head.httpVersion.startsWith('1'))
    notes.push(`HTTP/${head.httpVersion}: a browser opens six connections to an origin, over all its tabs`)
  if (head.httpVersion === '1.0') notes.push('HTTP/1.0 has no chunks: a cut cannot be told from the end')
  if (head.httpVersion !== '1.0' && /\bclose\b/i.test(fields(trace, 'connection')))
    notes.push('connection: close was answered')
  if (
    trace.sent.some((name) => name.toLowerCase() === 'origin') &&
    field(trace, 'access-control-allow-origin') === undefined
  ) {
    notes.push(
      'an origin was sent, and there is no access-control-allow-origin: a browser would refuse the answer (CORS)',
    )
  }
  if (trace.endReason) notes.push(`the server ended the stream itself: \`stream:end\`, ${trace.endReason}`)
  else if (trace.stopped === 'ended')
    notes.push('the response ended in order: for an answer that is complete that is right, a stream stays open')
  const [here, there] = [leastDelay(trace), origin && leastDelay(origin)]
  if (here !== undefined && there !== undefined && here - there > 100) {
    notes.push(
      `each frame comes about ${seconds(here - there)} later than from the origin${here - there < 300 ? ' (HAProxy does so without `option http-no-delay`)' : ''}`,
    )
  } else if (here !== undefined && Math.abs(here) > 2_000 && !seen.hold) {
    notes.push(`the clocks of the server and of this machine differ by about ${seconds(Math.abs(here))}`)
  }
  if (here === undefined && !origin && !seen.hold && trace.frames.length > 0) {
    notes.push('the frames carry no times: a delay that is always the same shows only beside the origin (--origin)')
  }
  if (trace.heartbeatMs !== undefined && trace.heartbeatMs > 30_000) {
    notes.push(
      `the heartbeat of ${seconds(trace.heartbeatMs)} is more than half of the 60 s after which most proxies cut`,
    )
  }
  return notes
}
