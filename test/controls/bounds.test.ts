import { test } from 'vitest'
import { bounds, type MakeCrowded, type MeteredSink } from '../property/bounds.js'
import { finds } from '../property/runs.js'

const encoder = new TextEncoder()

/** Broadcasts to all, whatever a write returned; a socket that takes nothing holds everything. */
const broadcast: MakeCrowded = () => {
  const sinks = new Set<MeteredSink>()
  return {
    async open(sink) {
      sinks.add(sink)
      sink.bind({ drained() {}, closed: () => sinks.delete(sink) })
    },
    async publish(data) {
      for (const sink of sinks) sink.write(encoder.encode(`data: ${data}\n\n`))
    },
    async close() {
      for (const sink of sinks) sink.end()
    },
  }
}

test('a server that ignores the results of its writes is found by what its connections hold', async () => {
  await finds(bounds(broadcast), 60, /one connection holds \d+ bytes/)
})
