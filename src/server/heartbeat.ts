import type { Clock } from '../protocol/clock.js'
import { HEARTBEAT } from '../protocol/control.js'
import { encodeComment, encodeEvent } from '../protocol/encode.js'

/** Beats are rounded up to this part of the interval, so that one timer serves many connections. */
const TICKS_PER_INTERVAL = 256

/** What the schedule needs to know of a connection. */
export interface Beating {
  /** When something was last written, or last drained. */
  readonly idleSince: number
  /** Whether a write is pending. */
  readonly blocked: boolean
  beat(frame: Uint8Array): void
  /** Told of a beat that is due and not sent, for a write is pending: once until it is not. */
  skip?(): void
}

/** A connection's place in the schedule. */
export class Pulse {
  readonly connection: Beating
  /** This connection's own pace within the allowed range, so that a crowd that arrived together disperses. */
  readonly pace = Math.random()
  waitMs = 0
  tick = 0
  skipping = false
  constructor(connection: Beating) {
    this.connection = connection
  }
}

/**
 * The one schedule of heartbeats for all connections of a hub: each beats after an idle wait of
 * `heartbeatMs` × 0.85…1, never while a write is pending, and once after a freeze of any length, for
 * the next wait always starts at the beat that was sent, not at the one that was due.
 */
export class Heartbeats {
  readonly intervalMs: number
  readonly #clock: Clock
  readonly #encode: (now: number) => Uint8Array
  readonly #tickMs: number
  readonly #ticks = new Map<number, Set<Pulse>>()
  #armedFor = Number.POSITIVE_INFINITY
  #cancel: (() => void) | undefined
  #sent = 0

  constructor(clock: Clock, intervalMs: number, as: 'comment' | 'event', padBytes = 0) {
    this.#clock = clock
    this.intervalMs = intervalMs
    this.#encode = heartbeatEncoder(as, padBytes)
    this.#tickMs = Math.max(1, Math.round(intervalMs / TICKS_PER_INTERVAL))
  }

  /** How many were sent since the beginning. */
  get sent(): number {
    return this.#sent
  }

  add(connection: Beating): Pulse {
    const pulse = new Pulse(connection)
    pulse.waitMs = this.#wait(pulse.pace)
    this.#schedule(pulse, connection.idleSince + pulse.waitMs)
    return pulse
  }

  remove(pulse: Pulse): void {
    const pulses = this.#ticks.get(pulse.tick)
    if (!pulses?.delete(pulse) || pulses.size > 0) return
    this.#ticks.delete(pulse.tick)
    if (this.#ticks.size === 0) this.#disarm()
  }

  /** @param share - where in the allowed range, from 0 to 1. */
  #wait(share: number): number {
    return this.intervalMs * (0.85 + 0.15 * share)
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
    const ms = Math.max(1, Math.ceil((tick + 1) * this.#tickMs - this.#clock.now()))
    this.#cancel = this.#clock.setTimeout(() => this.#fire(), ms, false)
  }

  #disarm(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
  }

  #fire(): void {
    this.#disarm()
    const now = this.#clock.now()
    const present = Math.floor(now / this.#tickMs)
    const frame = this.#encode(now)
    let next = Number.POSITIVE_INFINITY
    for (const [tick, pulses] of [...this.#ticks]) {
      if (tick >= present) {
        next = Math.min(next, tick)
        continue
      }
      this.#ticks.delete(tick)
      for (const pulse of pulses) this.#visit(pulse, now, frame)
    }
    if (next < this.#armedFor) this.#arm(next)
  }

  #visit(pulse: Pulse, now: number, frame: Uint8Array): void {
    const { connection } = pulse
    const due = connection.idleSince + pulse.waitMs
    if (connection.blocked) {
      this.#schedule(pulse, now + this.intervalMs / 8)
      if (due <= now && !pulse.skipping) {
        pulse.skipping = true
        connection.skip?.()
      }
      return
    }
    pulse.skipping = false
    if (due > now) this.#schedule(pulse, due)
    else {
      // Half of each wait is the connection's own and half is drawn anew: with new draws alone, a
      // crowd of 1,000 still sends a fifth of its tenth round within one second.
      pulse.waitMs = this.#wait((pulse.pace + Math.random()) / 2)
      this.#sent++
      this.#schedule(pulse, now + pulse.waitMs)
      connection.beat(frame)
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
