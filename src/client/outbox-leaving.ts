import type { Message } from './outbox-message.js'
import { listen } from './wake.js'

/** What a browser lets requests that outlive their page hold together: 64 KiB, less what heads and other requests need. */
const BUDGET_BYTES = 60 * 1024
const MOST_REQUESTS = 8

/** Calls `leaving` when the page goes away, and `seen` when it becomes visible, in runtimes that have pages. */
export function watchPage(leaving: () => void, seen: () => void): () => void {
  const { document } = globalThis as { document?: EventTarget & { visibilityState?: string } }
  const detach = [
    listen(globalThis as Partial<EventTarget>, 'pagehide', leaving),
    listen(document, 'visibilitychange', () => document?.visibilityState === 'visible' && seen()),
  ]
  return () => {
    for (const each of detach) each()
  }
}

/**
 * The messages that a page can still send when it goes away: the first of each lane, as far as they fit.
 *
 * @param early - those that are not in their lane yet, and come behind what is restored. What is stored already may wait
 * for the next page, if something older may be there, too; of what is not, this is the last chance.
 */
export function lastChances(all: readonly Message[], early: readonly Message[], mayHoldOlder: boolean): Message[] {
  const firsts = all.filter(({ isFirst }) => isFirst)
  const lanes = new Set(all.filter(({ item }) => item.restored).map(({ item }) => item.lane))
  for (const message of early) {
    const { over, isStored, item } = message
    if (over || lanes.has(item.lane)) continue
    lanes.add(item.lane)
    if (!isStored || !mayHoldOlder) firsts.push(message)
  }
  let left = BUDGET_BYTES
  const fitting = firsts.filter(({ bytes }) => {
    if (bytes > left) return false
    left -= bytes
    return true
  })
  return fitting.slice(0, MOST_REQUESTS)
}
