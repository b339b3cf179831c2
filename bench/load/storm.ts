// Clients of a server that restarts: as light as a socket, with the waits of this library's own client, or of others.
import { connect, type Socket } from 'node:net'
import { afterEstablished, afterFailure, FIRST_RETRY_MS } from '../../src/client/backoff.js'
import { microseconds } from '../payload.js'

export type Policy = 'steady-sse' | 'fixed 3 s' | 'exponential without jitter'

export interface Storm {
  /** Attempts in each 100 ms since the first connection was cut. */
  readonly attempts: readonly number[]
  /** When all were live again, in milliseconds since then. */
  readonly liveMs: number
  /** How many events arrived after the restart, on all together, and how many were out of order. */
  readonly events: number
  readonly disordered: number
}

/** The clients. Call `open`, restart the server, call `back`. */
export class Herd {
  readonly #port: number
  readonly #count: number
  readonly #policy: Policy
  readonly #attempts: number[] = []
  #cutAt = 0
  #live = 0
  #events = 0
  #disordered = 0
  #back: (() => void) | undefined
  #opening = 0

  constructor(port: number, count: number, policy: Policy) {
    this.#port = port
    this.#count = count
    this.#policy = policy
  }

  async open(): Promise<void> {
    for (let begun = 0; begun < this.#count; ) {
      while (begun < this.#count && this.#opening < 200) {
        begun++
        this.#opening++
        new Client(this).attempt()
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await this.#allLive()
  }

  async back(): Promise<Storm> {
    while (this.#cutAt === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await this.#allLive()
    const liveMs = (microseconds() - this.#cutAt) / 1_000
    // What they missed is on its way.
    await new Promise((resolve) => setTimeout(resolve, 500))
    return {
      attempts: Array.from(this.#attempts, (count) => count ?? 0),
      liveMs,
      events: this.#events,
      disordered: this.#disordered,
    }
  }

  /** How long one waits that was live, or has failed so often. */
  delay(retryMs: number, failures: number): number {
    if (this.#policy === 'fixed 3 s') return 3_000
    if (this.#policy === 'exponential without jitter') return Math.min(30_000, 1_000 * 2 ** failures)
    return failures === 0 ? afterEstablished(retryMs, Math.random()) : afterFailure(failures, retryMs, Math.random())
  }

  connect(): Socket {
    if (this.#cutAt > 0) {
      const tenth = Math.floor((microseconds() - this.#cutAt) / 100_000)
      this.#attempts[tenth] = (this.#attempts[tenth] ?? 0) + 1
    }
    return connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
  }

  live(): void {
    this.#live++
    if (this.#opening > 0) this.#opening--
    if (this.#live === this.#count) this.#back?.()
  }

  cut(): void {
    this.#live--
    if (this.#cutAt === 0) this.#cutAt = microseconds()
  }

  event(inOrder: boolean): void {
    this.#events++
    if (!inOrder) this.#disordered++
  }

  #allLive(): Promise<void> | undefined {
    if (this.#live === this.#count) return undefined
    return new Promise((resolve) => {
      this.#back = resolve
    })
  }
}

class Client {
  readonly #herd: Herd
  #retryMs = FIRST_RETRY_MS
  #failures = 0
  #lastEventId = ''
  #next = 0
  #text = ''

  constructor(herd: Herd) {
    this.#herd = herd
  }

  attempt(): void {
    const socket = this.#herd.connect()
    let isLive = false
    let openedAt = 0
    let hasEvent = false
    this.#text = ''
    const cursor = this.#lastEventId && `last-event-id: ${this.#lastEventId}\r\n`
    socket.write(`GET / HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n${cursor}\r\n`)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      hasEvent = this.#read(bytes) || hasEvent
      if (isLive) return
      isLive = true
      openedAt = microseconds()
      this.#herd.live()
    })
    socket.on('close', () => {
      if (isLive) this.#herd.cut()
      const established = hasEvent || (isLive && microseconds() - openedAt >= 5_000_000)
      this.#failures = established ? 0 : this.#failures + 1
      setTimeout(() => this.attempt(), this.#herd.delay(this.#retryMs, this.#failures))
    })
  }

  /** The last id and `retry`, and whether an event was among what came. */
  #read(bytes: Buffer): boolean {
    this.#text += bytes.toString('latin1')
    const end = this.#text.lastIndexOf('\n\n')
    if (end === -1) return false
    const text = this.#text.slice(0, end)
    this.#text = this.#text.slice(end)
    const retry = /^retry: (\d+)/m.exec(text)
    if (retry) this.#retryMs = Number(retry[1])
    const id = text.lastIndexOf('\nid: ')
    if (id !== -1) this.#lastEventId = text.slice(id + 5).split(/\r?\n/, 1)[0] ?? ''
    let any = false
    for (let at = text.indexOf('~'); at !== -1; at = text.indexOf('~', at + 8)) {
      const number = Number(text.slice(at + 1, at + 8))
      any = true
      this.#herd.event(number === this.#next)
      this.#next = number + 1
    }
    return any
  }
}
