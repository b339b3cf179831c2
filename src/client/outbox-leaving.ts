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
