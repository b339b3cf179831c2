import {
  createOutbox,
  type Outbox,
  type OutboxChange,
  type OutboxOptions,
  type SseError,
} from '../../src/client/outbox.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { type ScriptedRequest, scripted } from './scripted.js'

/** An outbox in virtual time, whose requests are answered by a script. */
export interface Scene {
  readonly clock: VirtualClock
  readonly outbox: Outbox
  readonly requests: ScriptedRequest[]
  readonly changes: OutboxChange[]
  /** What was posted, in order. */
  readonly bodies: string[]
}

export type Answer = (request: ScriptedRequest) => Response | Promise<Response>

export function scene(answer: Answer = accepts, options: OutboxOptions = {}): Scene {
  const clock = (options.clock as VirtualClock | undefined) ?? virtualClock()
  const bodies: string[] = []
  const { fetch, requests } = scripted((request) => {
    bodies.push(String(request.init.body))
    return answer(request)
  })
  const changes: OutboxChange[] = []
  const onState = (change: OutboxChange) => changes.push(change)
  const outbox = createOutbox('http://test/messages', { clock, fetch, onState, ...options })
  return { clock, outbox, requests, changes, bodies }
}

export const accepts: Answer = () => new Response('{"ok":true}', { headers: { 'content-type': 'application/json' } })
export const hangs: Answer = () => new Promise(() => {})
export const breaks: Answer = () => Promise.reject(new TypeError('fetch failed'))

/** Answers with these statuses, one after the other, and accepts what comes then. */
export function statuses(...list: (number | readonly [number, Record<string, string>])[]): Answer {
  return (request) => {
    const next = list[request.number - 1]
    if (next === undefined) return accepts(request)
    const [status, headers] = typeof next === 'number' ? [next, {}] : next
    return new Response(null, { status, headers })
  }
}

/** How a send ended: `accepted`, or its code; `pending` as long as it has not. */
export function endOf(sent: Promise<unknown>): { end: string; error?: SseError } {
  const result: { end: string; error?: SseError } = { end: 'pending' }
  sent.then(
    () => {
      result.end = 'accepted'
    },
    (error: SseError) => {
      result.end = error.code
      result.error = error
    },
  )
  return result
}

/** That the numbers of an outbox say where every message is. */
export function isAccounted({ counters, size }: Outbox): boolean {
  const { enqueued, ...ends } = counters
  return counters.pending === size && enqueued === Object.values(ends).reduce((sum, count) => sum + count, 0)
}
