import type { Finding, Verdict } from './diagnosis.js'
import { type Hold, holdOf } from './hold.js'
import { NAMES, type Product, proxiesOn } from './recognise.js'
import { count, seconds, size } from './say.js'
import { field, isEventStream, type Trace } from './trace.js'

/** Both traces, with what every rule asks of them. */
export interface Seen {
  readonly trace: Trace
  /** The origin's, whatever it is. */
  readonly asked: Trace | undefined
  /** The origin's, if it is an event stream and can be compared with. */
  readonly origin: Trace | undefined
  readonly hold: Hold | undefined
  readonly originHold: Hold | undefined
  readonly proxies: readonly Product[]
}

/** What a rule looks at, and what it says, if it applies. */
export interface Rule {
  readonly verdict: Verdict | readonly Verdict[]
  judge(seen: Seen): Finding | undefined
}

export function see(trace: Trace, asked: Trace | undefined): Seen {
  const origin = asked && isEventStream(asked) ? asked : undefined
  const originHold = origin && holdOf(origin)
  const hold = isEventStream(trace) || !trace.head ? holdOf(trace, originHold ? undefined : origin) : undefined
  return { trace, asked, origin, hold, originHold, proxies: proxiesOn(trace, origin) }
}

/** By the trace of the origin: `proxy` when it does not show the same. */
export function whereBy({ asked }: Seen, isSame: (origin: Trace) => boolean): Finding['where'] {
  if (!asked) return 'unknown'
  return isSame(asked) ? 'application' : 'proxy'
}

/** ` by the proxy`, as far as that is known. */
export function byWhom(where: Finding['where']): string {
  return where === 'proxy' ? ' by the proxy' : where === 'application' ? ' by the application' : ''
}

/** What a trace shows at a glance. */
export function summary(trace: Trace): string {
  const { head, frames, chunks, failure, watchedMs, stopped } = trace
  if (!head)
    return failure
      ? `no answer: ${failure.code} (${failure.phase}) after ${seconds(watchedMs)}`
      : `no head in ${seconds(watchedMs)}`
  const bytes = chunks.reduce((sum, each) => sum + each.bytes, 0)
  const type = field(trace, 'content-type') ?? 'no content-type'
  const first = chunks[0] ? `, first byte after ${seconds(chunks[0].ms)}` : ''
  const end = stopped === 'ended' || stopped === 'cut' ? `, ${stopped}` : ', still open'
  return `${head.status} ${type}, HTTP/${head.httpVersion}, head after ${seconds(head.ms)}${first}; ${count(frames.length, 'frame')}, ${size(bytes)} in ${seconds(watchedMs)}${end}`
}

export function named(products: readonly Product[]): string {
  return products.map((each) => NAMES[each]).join(', ')
}
