import type { Clock } from '../protocol/clock.js'
import { HEARTBEAT } from '../protocol/control.js'
import { encodeComment, encodeEvent } from '../protocol/encode.js'
import { chunkOf } from './chunk.js'

/** Beats are rounded up to this part of the interval, so that one timer serves many connections. */
const TICKS_PER_INTERVAL = 256
/** Of what is not scheduled. */
const NO_TICK = -1

/** What beats: a connection is one, lest each have another object beside it. The fields are the schedule's. */
export abstract class Pulse {
  /** Its own wait within the allowed range, so that a crowd that arrived together disperses. */
  paceMs = 0
  waitMs = 0
  tick = NO_TICK
  skipping = false
  /** When something was last written, or last drained, on the schedule's time. */
  abstract readonly idleSince: number
  /** Whether a write is pending. */
  abstract readonly blocked: boolean
  /** @param chunk - the frame as one chunk of HTTP/1.1. */
  abstract beat(frame: Uint8Array, chunk: Uint8Array): void
  /** Told of a beat that is due and not sent, for a write is pending: once until it is not. */
  abstract skip(): void
}

/**
 * The one schedule of heartbeats for all connections of a hub: each beats after an idle wait of
 * `heartbeatMs` × 0.85…1, never while a write is pending, and once after a freeze of any length, for
 * the next wait always starts at the beat that was sent, not at the one that was due.
 */
export class Heartbeats {
  readonly intervalMs: number
  readonly #clock: Clock
  readonly #origin: number
  readonly #encode: (now: number) => Uint8Array
  readonly #tickMs: number
  readonly #ticks = new Map<number, Set<Pulse>>()
  #armedFor = Number.POSITIVE_INFINITY
  #cancel: (() => void) | undefined
  #sent = 0

  constructor(clock: Clock, intervalMs: number, as: 'comment' | 'event', padBytes = 0) {
    this.#clock = clock
    this.#origin = clock.now()
    this.intervalMs = intervalMs
    this.#encode = heartbeatEncoder(as, padBytes)
    this.#tickMs = Math.max(1, Math.round(intervalMs / TICKS_PER_INTERVAL))
  }

  /** How many were sent since the beginning. */
  get sent(): number {
    return this.#sent
  }

  /**
   * The schedule's time: whole milliseconds since it began. Engines keep small whole numbers in place; each other
   * number that a connection holds is an object of 16 bytes.
   */
  now(): number {
    return Math.round(this.#clock.now() - this.#origin)
  }

  add(pulse: Pulse): void {
    pulse.paceMs = this.#drawWait()
    pulse.waitMs = pulse.paceMs
    this.#schedule(pulse, pulse.idleSince + pulse.waitMs)
  }

  remove(pulse: Pulse): void {
    const pulses = this.#ticks.get(pulse.tick)
    if (!pulses?.delete(pulse) || pulses.size > 0) return
    this.#ticks.delete(pulse.tick)
    if (this.#ticks.size === 0) this.#disarm()
  }

  #drawWait(): number {
    return Math.ceil(this.intervalMs * (0.85 + 0.15 * Math.random()))
  }

  #schedule(pulse: Pulse, due: number): void {
    pulse.tick = Math.floor(due / this.#tickMs)
    const pulses = this.#ticks.get(pulse.tick)
    if (pulses) pulses.add(pulse)
    else this.#ticks.set(pulse.tick, new Set([pulse]))
    if (pulse.tick < this.#armedFor) this.#arm(pulse.tick)
  }

  #arm(tick: number): void {
    this.#disarm()
    this.#armedFor = tick
    const ms = Math.max(1, (tick + 1) * this.#tickMs - this.now())
    this.#cancel = this.#clock.setTimeout(() => this.#fire(), ms, false)
  }

  #disarm(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
  }

  #fire(): void {
    this.#disarm()
    const now = this.now()
    const present = Math.floor(now / this.#tickMs)
    const frame = this.#encode(this.#clock.now())
    const chunk = chunkOf(frame)
    let next = Number.POSITIVE_INFINITY
    for (const [tick, pulses] of [...this.#ticks]) {
      if (tick >= present) {
        next = Math.min(next, tick)
        continue
      }
      this.#ticks.delete(tick)
      for (const pulse of pulses) this.#visit(pulse, now, frame, chunk)
    }
    if (next < this.#armedFor) this.#arm(next)
  }

  #visit(pulse: Pulse, now: number, frame: Uint8Array, chunk: Uint8Array): void {
    const due = pulse.idleSince + pulse.waitMs
    if (pulse.blocked) {
      this.#schedule(pulse, now + this.intervalMs / 8)
      if (due <= now && !pulse.skipping) {
        pulse.skipping = true
        pulse.skip()
      }
      return
    }
    pulse.skipping = false
    if (due > now) this.#schedule(pulse, due)
    else {
      // Half of each wait is the connection's own and half is drawn anew: with new draws alone, a
      // crowd of 1,000 still sends a fifth of its tenth round within one second.
      pulse.waitMs = Math.ceil((pulse.paceMs + this.#drawWait()) / 2)
      this.#sent++
      this.#schedule(pulse, now + pulse.waitMs)
      pulse.beat(frame, chunk)
    }
  }
}

function heartbeatEncoder(as: 'comment' | 'event', padBytes: number): (now: number) => Uint8Array {
  const encoder = new TextEncoder()
  const padding = padBytes > 0 ? encodeComment(' '.repeat(padBytes)) : ''
  return (now) => {
    const time = String(Math.round(now))
    const frame = as === 'event' ? encodeEvent({ event: HEARTBEAT, data: time }) : encodeComment(time)
    return encoder.encode(frame + padding)
  }
}
