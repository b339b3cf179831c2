// Two people talk through a network that drops connections: what is sent is accepted, and what is accepted is received.
import assert from 'node:assert/strict'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createOutbox } from 'steady-sse/outbox'
import { createHub } from 'steady-sse/server'
import { type Fault, simulate, virtualClock } from 'steady-sse/testing'
import { receive, sse } from 'steady-sse/web'

// The server: one stream for all, and a place to post to. Time is virtual: minutes of cuts and waits, at once.
const clock = virtualClock()
const hub = createHub({ store: memoryStore(), clock })
const events = sse(hub, { stream: () => 'chat' })
const messages = receive<{ from: string; text: string }>(
  async (message, { key }) => {
    await hub.publish('chat', { data: message, key })
  },
  { clock },
)
const server = (request: Request) => (new URL(request.url).pathname === '/events' ? events(request) : messages(request))

// The path: of three requests, one is handled and its answer lost, one is cut after 700 bytes, one gets through.
function faults(attempt: number): Fault[] {
  if (attempt % 3 === 0) return []
  return [{ kind: 'dropping', afterBytes: attempt % 3 === 1 ? 'head' : 700 }]
}
const fetch = simulate(server, { faults, clock })

class Person {
  readonly name: string
  readonly received: string[] = []
  readonly stream = connect('http://chat.test/events', { fetch, clock, from: 'earliest' })
  readonly outbox = createOutbox('http://chat.test/messages', { fetch, clock, stream: this.stream })
  sent = 0

  constructor(name: string) {
    this.name = name
    void this.read()
  }
  async read() {
    for await (const item of this.stream) this.received.push(item.type === 'event' ? item.data : `gap: ${item.reason}`)
  }
  say(text: string) {
    this.sent++
    this.outbox.send({ from: this.name, text }).catch((error) => console.error(`${this.name}: ${error.code}`))
  }
}

const people = [new Person('Ada'), new Person('Grace')]
for (let n = 1; n <= 40; n++) for (const person of people) person.say(`line ${n}`)
await clock.advance(600_000)
const sent = people.reduce((sum, person) => sum + person.sent, 0)
const accepted = people.reduce((sum, { outbox }) => sum + outbox.counters.accepted, 0)
for (const { name, received } of people) {
  const difference = sent - new Set(received).size
  console.log(`${name}: ${sent} sent, ${accepted} accepted, ${received.length} received, difference ${difference}`)
  assert.deepEqual([accepted, received.length, difference], [sent, sent, 0])
}
for (const { stream, outbox } of people) await outbox.close().then(() => stream.close())
await hub.close()
