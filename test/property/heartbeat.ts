import fc from 'fast-check'
import { createHub } from '../../src/server/index.js'
import type { Sink } from '../../src/server/sink.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { turns } from '../support/turns.js'
import { seeded } from './runs.js'

/** What sends heartbeats to those who are connected. */
export interface Beating {
  open(sink: ScriptedSink): Promise<unknown>
  publish(): Promise<unknown>
  close(): Promise<unknown>
}

export type MakeBeating = (clock: VirtualClock, intervalMs: number) => Beating

export const hubBeating: MakeBeating = (clock, heartbeatMs) => {
  const hub = createHub({ store: memoryStore(), clock, heartbeatMs, writeTimeoutMs: 2e9 })
  return {
    open: (sink) => openOn(hub, 's', { sink }),
    publish: () => hub.publish('s', { data: 'x' }),
    close: () => hub.close(),
  }
}

const INTERVAL = 10_000
/** Beats are gathered on ticks of a 256th of the interval. */
const TICK = INTERVAL / 256
const BEAT = /^(: \d|event: stream:heartbeat\n)/

const ms = fc.oneof(fc.nat(2 * INTERVAL), fc.nat(400), fc.constantFrom(INTERVAL, 12 * INTERVAL))
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('freeze' as const, 'jump' as const),
      ms: fc.oneof(ms, fc.constant(3_600_000)),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'open' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('block' as const, 'drain' as const, 'leave' as const),
      sink: fc.nat(2),
    }),
  },
)

/**
 * Under any clock (moved, frozen, put ahead), any coming and going, any writing: no two heartbeats are closer than half
 * the interval, none is sent while a write is pending or before most of the interval was idle, and nobody is left idle
 * for longer than the interval.
 */
export function heartbeat(make: MakeBeating): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), fc.nat(), (steps, seed) =>
    seeded(seed, async () => {
      const clock = virtualClock()
      const beating = make(clock, INTERVAL)
      const sinks: WatchedSink[] = []
      const open = async () => {
        const sink = new WatchedSink(clock)
        sinks.push(sink)
        await beating.open(sink)
      }
      await open()
      for (const one of steps) {
        const sink = 'sink' in one ? sinks[one.sink % sinks.length] : undefined
        if (one.kind === 'open') await open()
        else if (one.kind === 'publish') for (let n = 0; n < one.count; n++) await beating.publish()
        else if (one.kind === 'block' && sink) sink.room = false
        else if (one.kind === 'drain') sink?.drain()
        else if (one.kind === 'leave') sink?.leave()
        else if (one.kind === 'jump') clock.jump(one.ms)
        else if (one.kind === 'freeze') {
          clock.freeze()
          await clock.advance(one.ms)
          clock.thaw()
        } else if (one.kind === 'advance') {
          await turns()
          await clock.advance(one.ms)
          for (const each of sinks) each.checkIdle()
        }
        await turns()
        for (const each of sinks) each.check()
      }
      for (const each of sinks) each.leave()
      await beating.close()
      await clock.advance(2 * INTERVAL)
      if (clock.pending > 0) throw new Error(`left behind: ${clock.pending} timers`)
    }),
  )
}

/** Notes when it was written to, and what was wrong about it. */
class WatchedSink extends ScriptedSink implements Sink {
  readonly #clock: VirtualClock
  #activeAt: number
  #beatAt = Number.NEGATIVE_INFINITY
  #isPending = false
  #isGone = false
  #wrong: string | undefined

  constructor(clock: VirtualClock) {
    super()
    this.#clock = clock
    this.#activeAt = clock.now()
  }

  override write(bytes: Uint8Array): boolean {
    const now = this.#clock.now()
    if (BEAT.test(new TextDecoder().decode(bytes))) {
      if (this.#isPending) this.#wrong ??= 'a heartbeat while a write is pending'
      if (now - this.#beatAt < INTERVAL / 2) this.#wrong ??= `two heartbeats within ${now - this.#beatAt} ms`
      if (now - this.#activeAt < 0.85 * INTERVAL) this.#wrong ??= `a heartbeat after ${now - this.#activeAt} ms idle`
      this.#beatAt = now
    }
    this.#activeAt = now
    this.#isPending ||= !this.room
    return super.write(bytes)
  }

  override drain(): void {
    this.room = true
    if (!this.#isPending) return
    this.#isPending = false
    this.#activeAt = this.#clock.now()
    super.drain()
  }

  override leave(): void {
    this.#isGone = true
    super.leave()
  }

  check(): void {
    if (this.#wrong !== undefined) throw new Error(this.#wrong)
  }

  /** To be asked when all timers that are due were fired. */
  checkIdle(): void {
    const idleMs = this.#clock.now() - this.#activeAt
    if (!this.#isGone && !this.#isPending && idleMs > INTERVAL + 2 * TICK)
      throw new Error(`no heartbeat for ${idleMs} ms`)
  }
}
