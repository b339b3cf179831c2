import { setTimeout as pause } from 'node:timers/promises'
import { ask } from './ask.js'
import { within } from './measure.js'
import type { Upstream } from './upstream.js'

/** Far enough apart that what comes with a heartbeat is told from what came before. */
export const PADDED_HEARTBEAT_MS = 1_000
const BEFORE_MS = 500
const PATIENCE_MS = 3_000

/** What padding brings through, of a stream that is quiet but for one event. */
export interface PaddingVerdicts {
  readonly head: 'prompt' | 'held'
  /** The first frame, `stream:ready`. */
  readonly ready: 'prompt' | 'held'
  readonly event: 'prompt' | 'with a heartbeat' | 'held'
}

export async function measurePadding(
  url: string,
  upstream: Upstream,
): Promise<{ verdicts: PaddingVerdicts; detail: string }> {
  const stream = 'events/idle'
  const asked = ask(`${url}/${stream}`)
  await within(upstream.opened(stream), 'the request to reach the server', asked)
  await pause(BEFORE_MS)
  const head = asked.headAt === undefined ? 'held' : 'prompt'
  const ready = asked.frames.names.includes('stream:ready') ? 'prompt' : 'held'
  const publishedAt = performance.now()
  await upstream.beating.publish(stream, { data: 'event' })
  while (asked.eventAt.length === 0 && performance.now() < publishedAt + PATIENCE_MS) await pause(20)
  const [eventAt] = asked.eventAt
  asked.leave()
  const lateMs = eventAt === undefined ? undefined : Math.round(eventAt - publishedAt)
  const event = lateMs === undefined ? 'held' : lateMs < PADDED_HEARTBEAT_MS / 2 ? 'prompt' : 'with a heartbeat'
  return { verdicts: { head, ready, event }, detail: lateMs === undefined ? 'not seen' : `late by ${lateMs} ms` }
}
