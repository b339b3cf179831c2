import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseCursor } from '../../src/protocol/cursor.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { openOn, type ScriptedSink } from '../support/sink.js'
import { FarStore } from '../support/stores.js'

const offsetOf = (cursor: string | undefined) => parseCursor(cursor ?? '')?.offset ?? -1

/**
 * Walks through what a reader was given: event by event without a hole, except where a gap says how large it is.
 *
 * @param from - the offset that it came back with; -1 for a new reader.
 */
function endOf(sink: ScriptedSink, log: readonly string[], from: number): number {
  let place = from
  for (const { event, data, id } of sink.frames) {
    const offset = offsetOf(id)
    if (event === 'stream:gap') {
      const { reason, missed } = JSON.parse(data)
      if (place >= 0) expect(missed, reason).toBe(offset - place)
      expect(missed, reason).toBeGreaterThan(0)
    } else if (event === 'stream:ready') {
      if (id !== undefined && place >= 0) expect(offset).toBe(place)
    } else {
      expect(offset).toBe(place + 1)
      expect(data).toBe(log[offset - 1])
    }
    if (id !== undefined) place = offset
  }
  return place
}

test('readers get the log, each event once and in order, minus what is announced as missing', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('here' as const), count: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant('elsewhere' as const), count: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ kind: fc.constant('block' as const), reader: fc.nat(2) }),
    fc.record({ kind: fc.constant('drain' as const), reader: fc.nat(2) }),
    fc.record({ kind: fc.constant('failing' as const), often: fc.constantFrom(0, 2, 3) }),
    fc.record({ kind: fc.constant('hints' as const), often: fc.constantFrom(0, 2, 3) }),
    fc.record({ kind: fc.constant('delay' as const), ms: fc.constantFrom(0, 5, 50) }),
    fc.record({ kind: fc.constant('join' as const) }),
  )
  const every = (often: number) => {
    let call = 0
    return () => often > 0 && ++call % often === 0
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.constantFrom(1, 300, 1024 * 1024),
      fc.constantFrom(10_000, 15),
      fc.constantFrom(10_000, 10),
      async (steps, ringBytes, maxEvents, maxReplay) => {
        const clock = virtualClock()
        const store = new FarStore(memoryStore({ maxEvents }), clock)
        store.pollMs = 100
        const { inner } = store
        const append = inner.append.bind(inner)
        inner.append = (stream, events) => {
          log.push(...events.map(({ data }) => data))
          return append(stream, events)
        }
        const hub = createHub({ store, clock, ringBytes, maxReplay, writeTimeoutMs: 1e9 })
        const elsewhere = createHub({ store: store.inner, clock })
        const sinks: ScriptedSink[] = []
        const cameWith = new Map<ScriptedSink, number>()
        const join = async () => {
          // Every other one is a reader that was cut off and comes back.
          const old = sinks.length % 2 ? sinks[sinks.length >> 1] : undefined
          const cursor = old?.frames.findLast(({ id }) => id !== undefined)?.id
          const opening = openOn(hub, 's', { cursor, from: 'earliest' })
          opening.catch(() => {})
          // A join succeeds or fails within its deadline.
          await clock.advance(5_000)
          const sink = await opening.catch(() => undefined)
          if (sink) {
            sinks.push(sink)
            cameWith.set(sink, offsetOf(cursor))
          }
        }
        await join()
        let count = 0
        const log: string[] = []
        const publishing: Promise<unknown>[] = []
        for (const one of steps) {
          if (one.kind === 'here') {
            for (let n = 0; n < one.count; n++) {
              publishing.push(hub.publish('s', { data: `here ${++count}` }))
              if (store.delayMs > 0) await clock.advance(store.delayMs)
            }
          } else if (one.kind === 'elsewhere') {
            for (let n = 0; n < one.count; n++) await elsewhere.publish('s', { data: `elsewhere ${++count}` })
          } else if (one.kind === 'wait') await clock.advance(one.ms)
          else if (one.kind === 'block') {
            const sink = sinks[one.reader % sinks.length]
            if (sink) sink.room = false
          } else if (one.kind === 'drain') sinks[one.reader % sinks.length]?.drain()
          else if (one.kind === 'failing') {
            const fails = every(one.often)
            store.fails = (verb) => verb === 'read' && fails()
          } else if (one.kind === 'hints') {
            const drops = every(one.often)
            store.hints = () => !drops()
          } else if (one.kind === 'delay') store.delayMs = one.ms
          else await join()
        }
        store.fails = () => false
        for (const sink of sinks) sink.room = true
        for (let round = 0; round < 20; round++) {
          for (const sink of sinks) sink.drain()
          await clock.advance(1_000)
        }
        await Promise.all(publishing)
        const head = (await store.inner.open('s')).head
        for (const sink of sinks) {
          expect(endOf(sink, log, cameWith.get(sink) ?? -1)).toBe(head)
          if (maxEvents > 15 && maxReplay > 10) expect(sink.names).not.toContain('stream:gap')
          sink.leave()
        }
        await Promise.all([hub.close(), elsewhere.close()])
        await clock.advance(10_000)
        expect(clock.pending).toBe(0)
      },
    ),
    { numRuns: 300 },
  )
}, 60_000)
