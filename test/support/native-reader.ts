import { type Clock, nextTurn } from '../../src/protocol/clock.js'
import type { GapReason, StreamItem } from '../../src/protocol/event.js'
import { eventItem } from '../../src/protocol/event.js'
import { WhatwgParser } from './whatwg-parser.js'

const SILENCE_MS = 20_000
const RETRY_MS = 1_000

/**
 * Reads as a native `EventSource` does: it knows nothing of us but the events' names, keeps the last event ID of each
 * block that ended, and comes back after a fixed time.
 */
export class NativeReader {
  readonly items: StreamItem[] = []
  readonly done: Promise<void>
  lastEventId: string
  readonly #leaving = new AbortController()
  readonly #clock: Clock
  #endPause: (() => void) | undefined

  constructor(url: string, options: { fetch: typeof fetch; clock: Clock; lastEventId?: string }) {
    this.lastEventId = options.lastEventId ?? ''
    this.#clock = options.clock
    this.done = this.#run(url, options.fetch)
  }

  close(): void {
    this.#leaving.abort()
    this.#endPause?.()
  }

  async #run(url: string, fetch: typeof globalThis.fetch): Promise<void> {
    while (!this.#leaving.signal.aborted) {
      await this.#attempt(url, fetch).catch(() => {})
      if (!this.#leaving.signal.aborted) await this.#pause()
    }
  }

  async #attempt(url: string, fetch: typeof globalThis.fetch): Promise<void> {
    const attempt = new AbortController()
    const leave = () => attempt.abort()
    this.#leaving.signal.addEventListener('abort', leave, { once: true })
    let cancel = this.#clock.setTimeout(leave, SILENCE_MS)
    try {
      const headers = this.lastEventId === '' ? {} : { 'last-event-id': this.lastEventId }
      const response = await fetch(url, { headers, signal: attempt.signal })
      if (response.status !== 200) return void (await response.body?.cancel())
      const parser = new WhatwgParser(({ type, data, lastEventId }) => this.#take(type, data, lastEventId))
      parser.lastEventId = this.lastEventId
      const reader = response.body?.getReader()
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
        cancel()
        cancel = this.#clock.setTimeout(leave, SILENCE_MS)
        parser.push(part.value)
        // An empty one is none: a connection that has not been given an id yet keeps the old.
        this.lastEventId = parser.lastEventId || this.lastEventId
        if (attempt.signal.aborted) return
      }
    } finally {
      cancel()
      this.#leaving.signal.removeEventListener('abort', leave)
    }
  }

  #take(type: string, data: string, id: string): void {
    if (this.#leaving.signal.aborted) return
    if (type === 'stream:gap') {
      const { reason, missed } = JSON.parse(data) as { reason: GapReason; missed: number | null }
      this.items.push({ type: 'gap', id, reason, missed })
    } else if (!type.startsWith('stream:')) this.items.push(eventItem(id, type, data))
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.setTimeout(resolve, RETRY_MS)
      this.#endPause = () => {
        cancel()
        nextTurn(resolve)
      }
    })
  }
}
