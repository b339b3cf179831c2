// How an application tests its own handler: no socket, no waiting, and the same every time.
import assert from 'node:assert/strict'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'
import { type Fault, simulate, virtualClock } from 'steady-sse/testing'
import { sse } from 'steady-sse/web'

// What is tested: a handler, as the application has it. One clock for all, which stands still until it is moved.
const clock = virtualClock()
const hub = createHub({ store: memoryStore(), clock })
const handler = sse(hub, { stream: (request) => new URL(request.url).pathname.slice(1) })

// What it goes through: the first response breaks off within a frame, the second request is refused, and from
// then on the bytes come in small pieces.
function faults(attempt: number): Fault[] {
  if (attempt === 1) return [{ kind: 'dropping', afterBytes: 400 }]
  if (attempt === 2) return [{ kind: 'status', answers: [{ status: 503 }] }]
  return [{ kind: 'split' }]
}

const states: string[] = []
const orders = connect('http://shop.test/orders', {
  clock,
  fetch: simulate(handler, { clock, faults, seed: 1 }),
  onState: ({ state }) => states.push(state),
})
const seen: string[] = []
const reading = (async () => {
  for await (const item of orders) seen.push(item.type === 'event' ? item.data : `gap: ${item.reason}`)
})()

await orders.ready
for (let n = 1; n <= 20; n++) await hub.publish('orders', { data: `order ${n}` })
await hub.seal('orders')
await clock.advance(60_000) // a minute of backoff, at once
await reading // the stream is sealed, and so the loop has ended

assert.deepEqual(
  seen,
  Array.from({ length: 20 }, (_, index) => `order ${index + 1}`),
)
assert.deepEqual(states.slice(0, 5), ['connecting', 'open', 'waiting', 'connecting', 'waiting'])
await hub.close()
assert.equal(clock.pending, 0) // and nothing is left behind
console.log(
  `${seen.length} orders, each once and in order, in ${states.filter((state) => state === 'connecting').length} attempts`,
)
