// Many connections over raw sockets, as light as can be: they count what arrives, and see that it is in order.
import { connect, type Socket } from 'node:net'
import { DIGITS, MARK, microseconds, STAMP_DIGITS } from '../payload.js'
import { Histogram } from '../statistics.js'

/** How many connections are being opened at a time. */
const OPENING = 200

export interface CrowdOptions {
  readonly path?: string
  /** Whether each adds its number to the path. */
  readonly own?: boolean
  readonly headers?: Record<string, string>
  /** Whether the events carry the time at which they were made. */
  readonly stamped?: boolean
  /** The number of the first event that each is to get. Default: 0. */
  readonly first?: number
}

/** What is known of all connections together. */
export interface Arrived {
  /** When the last of the awaited events arrived, on the clock that the processes share. */
  readonly at: number
  readonly events: number
  readonly bytes: number
  /** How often something arrived: a heartbeat comes by itself. */
  readonly pieces: number
  /** Events that were not the ones to come next. */
  readonly disordered: number
  /** Connections that were cut. */
  readonly cut: number
}

class Reader {
  readonly socket: Socket
  head = true
  next: number
  /** The end of what arrived, where a number may be cut in two. */
  rest: Buffer | undefined
  stalled = false
  constructor(socket: Socket, first: number) {
    this.socket = socket
    this.next = first
  }
}

export class Crowd {
  readonly #readers: Reader[] = []
  latency = new Histogram()
  readonly #tail: number
  #opened = 0
  #events = 0
  #bytes = 0
  #pieces = 0
  #disordered = 0
  #cut = 0
  #closing = false
  #target = 0
  #reached: (() => void) | undefined
  readonly #options: CrowdOptions
  readonly #port: number

  constructor(port: number, options: CrowdOptions) {
    this.#port = port
    this.#options = options
    this.#tail = DIGITS + (options.stamped ? STAMP_DIGITS : 0)
  }

  /** Opens so many more, and resolves when each has a head. */
  async open(count: number): Promise<void> {
    let left = count
    await Promise.all(
      Array.from({ length: Math.min(count, OPENING) }, async () => {
        while (left-- > 0) await this.#openOne()
      }),
    )
  }

  /** Resolves when so many events have arrived on all connections together. */
  async until(events: number, limitMs = 120_000): Promise<Arrived> {
    if (this.#events < events) {
      this.#target = events
      await new Promise<void>((resolve, reject) => {
        const late = () => reject(new Error(`${this.#events} of ${events} events arrived in ${limitMs} ms`))
        const timer = setTimeout(late, limitMs)
        this.#reached = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return { at: microseconds(), ...this.counts() }
  }

  counts(): Omit<Arrived, 'at'> {
    return {
      events: this.#events,
      bytes: this.#bytes,
      pieces: this.#pieces,
      disordered: this.#disordered,
      cut: this.#cut,
    }
  }

  /** Forgets what arrived; the first event is the next. */
  reset(): void {
    this.#events = 0
    this.#bytes = 0
    for (const reader of this.#readers) reader.next = this.#options.first ?? 0
  }

  /** One of `nth` connections reads no more; or all do again. */
  stall(nth: number): number {
    let stalled = 0
    for (const [index, reader] of this.#readers.entries()) {
      reader.stalled = nth > 0 && index % nth === 0
      if (reader.stalled) {
        stalled++
        reader.socket.pause()
      } else reader.socket.resume()
    }
    return stalled
  }

  /** One of `nth` connections reads a little every `everyMs`: a drip. */
  drip(nth: number, everyMs: number): void {
    for (const [index, reader] of this.#readers.entries()) {
      if (index % nth !== 0) continue
      reader.stalled = true
      reader.socket.pause()
      const timer = setInterval(() => {
        reader.socket.once('data', () => reader.socket.pause())
        reader.socket.resume()
      }, everyMs)
      reader.socket.on('close', () => clearInterval(timer))
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    await Promise.all(
      this.#readers.map(
        ({ socket }) =>
          new Promise<void>((resolve) => {
            if (socket.destroyed) return resolve()
            socket.once('close', () => resolve())
            // No TIME_WAIT is left behind: tens of thousands would use up the ports.
            socket.resetAndDestroy()
          }),
      ),
    )
    this.#readers.length = 0
  }

  #openOne(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { path = '/', own = false, headers = {}, first = 0 } = this.#options
      const asked = own ? `${path}${this.#opened++}` : path
      const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
      const reader = new Reader(socket, first)
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      socket.write(`GET ${asked} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n${lines.join('')}\r\n`)
      const late = setTimeout(() => reject(new Error('no head in 20 s')), 20_000)
      socket.on('error', reject)
      socket.on('close', () => {
        clearTimeout(late)
        if (!this.#closing) this.#cut++
      })
      socket.on('data', (bytes) => {
        this.#bytes += bytes.length
        this.#pieces++
        if (reader.head) {
          reader.head = false
          if (bytes.indexOf('HTTP/1.1 200') !== 0) return reject(new Error(bytes.subarray(0, 200).toString()))
          clearTimeout(late)
          this.#readers.push(reader)
          resolve()
        }
        this.#count(reader, bytes)
      })
    })
  }

  #count(reader: Reader, arrived: Buffer): void {
    const bytes = reader.rest ? Buffer.concat([reader.rest, arrived]) : arrived
    reader.rest = undefined
    const tail = this.#tail
    let events = 0
    let step = 0
    for (let at = bytes.indexOf(MARK); at !== -1; ) {
      if (at + tail >= bytes.length) {
        reader.rest = bytes.subarray(at)
        break
      }
      let number = 0
      for (let digit = at + 1; digit <= at + DIGITS; digit++) number = number * 10 + (bytes[digit] ?? 0) - 48
      if (number !== reader.next) this.#disordered++
      reader.next = number + 1
      events++
      if (this.#options.stamped) this.#stamp(bytes, at + 1 + DIGITS, reader)
      // Events of one size come at one distance: that is looked at first.
      const guess = at + step
      if (step > 0 && bytes[guess] === MARK) at = guess
      else {
        const next = bytes.indexOf(MARK, at + tail)
        step = next - at
        at = next
      }
    }
    this.#events += events
    if (this.#reached && this.#events >= this.#target) {
      this.#reached()
      this.#reached = undefined
    }
  }

  #stamp(bytes: Buffer, from: number, reader: Reader): void {
    if (reader.stalled) return
    let made = 0
    for (let digit = from; digit < from + STAMP_DIGITS; digit++) made = made * 10 + (bytes[digit] ?? 0) - 48
    this.latency.add(Math.max(1, microseconds() - made))
  }
}
