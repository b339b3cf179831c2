// Clients of a server that restarts: as light as a socket, with the waits of this library's own client, or of others.
import { connect, type Socket } from 'node:net'
import { afterEstablished, afterFailure, clampRetry, ESTABLISHED_MS, FIRST_RETRY_MS } from '../../src/client/backoff.js'
import { DIGITS, microseconds } from '../payload.js'
import { type Return, ReturnLog } from './attempts.js'

export type Policy = 'steady-sse' | 'fixed 3 s'

/** The clients. Call `open`, restart the server, call `back`. */
export class Herd {
  readonly log = new ReturnLog()
  readonly #port: number
  readonly #count: number
  readonly #policy: Policy
  #live = 0
  #liveAt = 0
  #opening = 0
  #seen = 0

  constructor(port: number, count: number, policy: Policy) {
    this.#port = port
    this.#count = count
    this.#policy = policy
  }

  /** Resolves when all have a head. */
  async open(): Promise<void> {
    for (let begun = 0; begun < this.#count; ) {
      while (begun < this.#count && this.#opening < 200) {
        begun++
        this.#opening++
        new Client(this).attempt()
      }
      await tick()
    }
    while (this.#live < this.#count) await tick()
  }

  /** Resolves when so many events have arrived on all together. */
  async until(events: number, limitMs: number): Promise<void> {
    const end = performance.now() + limitMs
    while (this.#seen < events && performance.now() < end) await tick()
  }

  /** Resolves when all are live again after a cut, and have had so many events each. */
  async back(missed: number): Promise<Return> {
    while (!this.log.begun || this.#live < this.#count) await tick()
    const liveAt = this.#liveAt
    await this.until(this.#count * (missed + 1), 10_000)
    return this.log.report(liveAt)
  }

  /** How long one waits that was live, or has failed so often. */
  delay(retryMs: number, failures: number): number {
    if (this.#policy === 'fixed 3 s') return 3_000
    return failures === 0 ? afterEstablished(retryMs, Math.random()) : afterFailure(failures, retryMs, Math.random())
  }

  connect(due: number): Socket {
    this.log.attempt(due)
    return connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
  }

  live(): void {
    this.#live++
    this.#liveAt = microseconds()
    if (this.#opening > 0) this.#opening--
  }

  cut(): void {
    this.#live--
    this.log.cut()
  }

  event(inOrder: boolean): void {
    this.#seen++
    this.log.event(inOrder)
  }
}

const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 1))

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

  attempt(due = 0): void {
    const madeAt = microseconds()
    const socket = this.#herd.connect(due)
    let openedAt = 0
    let hasEvent = false
    this.#text = ''
    const cursor = this.#lastEventId && `last-event-id: ${this.#lastEventId}\r\n`
    socket.write(`GET / HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n${cursor}\r\n`)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      if (openedAt === 0) {
        openedAt = microseconds()
        this.#herd.live()
        this.#herd.log.head(madeAt)
      }
      hasEvent = this.#read(bytes) || hasEvent
    })
    socket.on('close', () => {
      if (openedAt > 0) this.#herd.cut()
      const established = hasEvent || (openedAt > 0 && microseconds() - openedAt >= 1_000 * ESTABLISHED_MS)
      this.#failures = established ? 0 : this.#failures + 1
      const delayMs = this.#herd.delay(this.#retryMs, this.#failures)
      const next = microseconds() + 1_000 * delayMs
      setTimeout(() => this.attempt(next), delayMs)
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
    if (retry) this.#retryMs = clampRetry(Number(retry[1]))
    const id = text.lastIndexOf('\nid: ')
    if (id !== -1) this.#lastEventId = text.slice(id + 5).split(/\r?\n/, 1)[0] ?? ''
    let any = false
    for (let at = text.indexOf('~'); at !== -1; at = text.indexOf('~', at + 1 + DIGITS)) {
      const number = Number(text.slice(at + 1, at + 1 + DIGITS))
      any = true
      this.#herd.event(number === this.#next)
      this.#next = number + 1
    }
    return any
  }
}
