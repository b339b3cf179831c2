import fc from 'fast-check'
import { createHub } from '../../src/server/index.js'
import type { Sink, SinkListener } from '../../src/server/sink.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { openOn } from '../support/sink.js'
import { turns } from '../support/turns.js'
import { seeded } from './runs.js'

/** A server whose connections write to the sinks that they are given. */
export interface Crowded {
  open(sink: MeteredSink, cursor?: string): Promise<unknown>
  publish(data: string): Promise<unknown>
  close(): Promise<unknown>
}

export type MakeCrowded = (clock: VirtualClock) => Crowded

const WRITE_TIMEOUT = 30_000
const STORE_BYTES = 256 * 1024

export const hubCrowded: MakeCrowded = (clock) => {
  const store = memoryStore({ maxBytes: STORE_BYTES })
  const hub = createHub({ store, clock, ringBytes: 64 * 1024, writeTimeoutMs: WRITE_TIMEOUT })
  return {
    // Written to the type of the support's own sink, of which it uses what every sink has.
    open: (sink) => openOn(hub, 's', { sink: sink as never, from: 'earliest' }),
    publish: (data) => hub.publish('s', { data }),
    close: () => hub.close({ graceMs: 100 }),
  }
}

const HIGH_WATER = 16 * 1024
const BLOCK = 64 * 1024
/** What opens a stream, and what ends it: `ready`, a gap, an end. */
const OPENING = 1_024
const STEP_MS = 100

/** The socket of a peer that takes so many bytes in a second, and holds what it has not taken. */
export class MeteredSink implements Sink {
  held = 0
  most = 0
  isOpen = true
  #isBlocked = false
  #listener: SinkListener | undefined
  readonly #bytesPerStep: number

  constructor(bytesPerSecond: number) {
    this.#bytesPerStep = (bytesPerSecond * STEP_MS) / 1_000
  }

  get isStalled(): boolean {
    return this.#bytesPerStep === 0
  }

  bind(listener: SinkListener): void {
    this.#listener = listener
  }

  write(bytes: Uint8Array): boolean {
    this.held += bytes.length
    this.most = Math.max(this.most, this.held)
    this.#isBlocked ||= this.held >= HIGH_WATER
    return !this.#isBlocked
  }

  /** Time passes: the peer takes its share. */
  take(): void {
    this.held = Math.max(0, this.held - this.#bytesPerStep)
    if (this.held > 0 || !this.#isBlocked) return
    this.#isBlocked = false
    this.#listener?.drained()
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.held = 0
    this.#listener?.closed()
  }
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      size: fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.constantFrom(30_000, 60_000)),
      count: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), steps: fc.integer({ min: 1, max: 100 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('open' as const), rate: fc.constantFrom(0, 0, 8_000, 100_000, 1e9) }),
  },
)

/**
 * Under any mix of fast, slow and stalled readers, no connection holds more than its socket's high-water mark and one
 * block; the stalled are cut off at the write deadline, and the slow never.
 */
export function bounds(make: MakeCrowded): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), fc.nat(), (steps, seed) =>
    seeded(seed, async () => {
      const clock = virtualClock()
      const crowded = make(clock)
      const sinks: MeteredSink[] = []
      const open = async (rate: number) => {
        const sink = new MeteredSink(rate)
        sinks.push(sink)
        await crowded.open(sink)
      }
      const check = () => {
        for (const { most } of sinks) {
          if (most > HIGH_WATER + BLOCK + OPENING) throw new Error(`one connection holds ${most} bytes`)
        }
      }
      const pass = async (count: number) => {
        for (let n = 0; n < count; n++) {
          await clock.advance(STEP_MS)
          for (const sink of sinks) if (sink.isOpen) sink.take()
          check()
        }
      }
      await open(0)
      await open(16_000)
      for (const one of steps) {
        if (one.kind === 'open') await open(one.rate)
        else if (one.kind === 'pass') await pass(one.steps)
        else
          for (let n = 0; n < one.count; n++) {
            await crowded.publish('é'.repeat(one.size / 2))
            await turns(1)
            check()
          }
      }
      const wasBlocked = sinks.filter((sink) => sink.isStalled && sink.held >= HIGH_WATER)
      await pass(WRITE_TIMEOUT / STEP_MS + 1)
      if (wasBlocked.some(({ isOpen }) => isOpen)) throw new Error('a stalled connection outlived the write deadline')
      if (sinks.some((sink) => !sink.isStalled && !sink.isOpen)) throw new Error('a slow connection was cut off')
      for (const sink of sinks) sink.destroy()
      await crowded.close()
      await clock.advance(1_000)
      if (clock.pending > 0) throw new Error(`left behind: ${clock.pending} timers`)
    }),
  )
}
