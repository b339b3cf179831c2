import { test } from 'vitest'
import { heartbeat, type MakeBeating } from '../property/heartbeat.js'
import { finds } from '../property/runs.js'
import type { ScriptedSink } from '../support/sink.js'

const encoder = new TextEncoder()
const BEAT = encoder.encode(': 1\n\n')

/** A loop that waits for an event or for the interval, and sends a heartbeat each time that it turns. */
const perTurn: MakeBeating = (clock, intervalMs) => {
  const loops = new Set<() => void>()
  return {
    async open(sink: ScriptedSink) {
      let cancel = () => {}
      const turn = () => {
        cancel()
        sink.write(BEAT)
        cancel = clock.setTimeout(turn, intervalMs)
      }
      cancel = clock.setTimeout(turn, intervalMs)
      loops.add(turn)
      sink.bind({
        drained() {},
        closed() {
          cancel()
          loops.delete(turn)
        },
      })
    },
    async publish() {
      for (const turn of loops) turn()
    },
    async close() {},
  }
}

/** A timer that makes up for the beats that it missed. */
const makingUp: MakeBeating = (clock, intervalMs) => ({
  async open(sink: ScriptedSink) {
    let due = clock.now() + intervalMs
    let cancel = () => {}
    const beat = () => {
      for (; due <= clock.now(); due += intervalMs) sink.write(BEAT)
      cancel = clock.setTimeout(beat, due - clock.now())
    }
    cancel = clock.setTimeout(beat, intervalMs)
    sink.bind({ drained() {}, closed: () => cancel() })
  },
  async publish() {},
  async close() {},
})

test('a heartbeat per turn of the loop is found', async () => {
  await finds(heartbeat(perTurn), 300, /two heartbeats within|a heartbeat after \d+ ms idle|while a write is pending/)
})

test('a schedule that makes up for a freeze with a burst is found', async () => {
  await finds(heartbeat(makingUp), 300, /two heartbeats within \d+ ms|while a write is pending/)
})
