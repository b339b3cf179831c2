import type { Message } from './outbox-message.js'

/** What a browser lets requests that outlive their page hold together: 64 KiB, less what heads and other requests need. */
const BUDGET_BYTES = 60 * 1024
const MOST_REQUESTS = 8

type Events = Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>

/** Calls `leaving` when the page goes away, in runtimes that have pages. */
export function onLeaving(leaving: () => void): () => void {
  const scope = globalThis as Events
  scope.addEventListener?.('pagehide', leaving)
  return () => scope.removeEventListener?.('pagehide', leaving)
}

/** Calls `seen` when the page becomes visible. */
export function onVisible(seen: () => void): () => void {
  const page = (globalThis as { document?: Events & { visibilityState?: string } }).document
  const look = () => {
    if (page?.visibilityState === 'visible') seen()
  }
  page?.addEventListener?.('visibilitychange', look)
  return () => page?.removeEventListener?.('visibilitychange', look)
}

/**
 * The first of each lane, of those that are not in their lane yet. What is stored already may wait for the next page, if
 * something older may be there, too; of what is not, this is the last chance.
 */
export function headsOf(early: readonly Message[], all: readonly Message[], mayHoldOlder: boolean): Message[] {
  const waiting = new Set(early)
  const lanes = new Set(all.filter((message) => !waiting.has(message)).map(({ lane }) => lane))
  return early.filter((message) => {
    if (message.over || lanes.has(message.lane)) return false
    lanes.add(message.lane)
    return !(message.isStored && mayHoldOlder)
  })
}

/** Those of the messages that a page can still send when it goes away. */
export function thatFit(messages: readonly Message[]): Message[] {
  let left = BUDGET_BYTES
  const fitting = messages.filter(({ body }) => {
    if (body.bytes > left) return false
    left -= body.bytes
    return true
  })
  return fitting.slice(0, MOST_REQUESTS)
}
