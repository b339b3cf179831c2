// A bus inside the process feeds the streams: it is joined when a stream gets its first reader, before the 200.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { PublishEvent, Source } from 'steady-sse'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

const bus = new EventEmitter()

const source: Source = {
  async join(stream, to) {
    // What cannot be stored stands in the log as a gap; the rejection is for your own log.
    const listener = (event: PublishEvent) => to.event(event).catch(console.error)
    bus.on(stream, listener)
    return () => void bus.off(stream, listener)
  },
}

const hub = createHub({ store: memoryStore(), source, idleMs: 1_000 })
const server = createServer(sse(hub, { stream: () => 'orders' }))
await once(server.listen(0, '127.0.0.1'), 'listening')
assert.equal(bus.listenerCount('orders'), 0) // nobody reads, so nothing is joined

const stream = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
await stream.ready
bus.emit('orders', { event: 'created', data: { id: 1 } }) // right after the join: it arrives

for await (const item of stream) {
  assert(item.type === 'event')
  assert.deepEqual(item.json(), { id: 1 })
  console.log(item.event, item.data)
  break
}
await hub.close() // leaves the bus
assert.equal(bus.listenerCount('orders'), 0)
server.close()
