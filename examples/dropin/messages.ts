// A message service whose agents listen (push) or ask (pull). One heartbeat schedule for all cannot flood any of them.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Clock } from 'steady-sse'
import { type ConnectOptions, connect, type EventStream } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'
import { simulate, virtualClock } from 'steady-sse/testing'
import { sse } from 'steady-sse/web'

export interface Message {
  readonly from: string
  readonly text: string
}

/** The server: one stream per agent. Heartbeats are the hub's: spaced per connection, none while something else is sent. */
export function messageService(heartbeatMs: number, clock?: Clock) {
  const hub = createHub({ store: memoryStore(), heartbeatMs, clock })
  const serve = sse(hub, { stream: ({ headers }) => `to:${headers.get('x-agent-id') ?? 'nobody'}` })
  const send = (to: string, message: Message) => hub.publish(`to:${to}`, { event: 'message', data: message })
  return { hub, serve, send }
}

/** The agent's side: messages go to those who listen; without any, a few wait for `take`, and the rest on the server. */
export class Inbox {
  readonly stream: EventStream
  readonly #done: Promise<void>
  readonly #events = new EventEmitter<{ message: [Message]; room: [] }>()
  readonly #waiting: Message[] = []

  constructor(url: string, agent: string, { maxWaiting = 100, ...options }: ConnectOptions & { maxWaiting?: number }) {
    this.stream = connect(url, { ...options, headers: { 'x-agent-id': agent } })
    this.#done = this.#read(maxWaiting)
  }

  /** Push. Returns the function that ends it. */
  listen(listener: (message: Message) => void): () => void {
    for (const message of this.take()) listener(message)
    this.#events.on('message', listener)
    return () => void this.#events.off('message', listener)
  }

  /** Pull. */
  take(limit = Number.POSITIVE_INFINITY): Message[] {
    const taken = this.#waiting.splice(0, limit)
    this.#events.emit('room')
    return taken
  }

  close(): Promise<void> {
    this.stream.close()
    this.#events.emit('room')
    return this.#done
  }

  async #read(maxWaiting: number) {
    for await (const item of this.stream) {
      const message = item.type === 'event' ? item.json<Message>() : { from: 'gap', text: item.reason }
      if (!this.#events.emit('message', message)) this.#waiting.push(message)
      // A full inbox reads no further: what follows stays in the stream, and nothing is dropped.
      while (this.#waiting.length >= maxWaiting && this.stream.state !== 'closed') await once(this.#events, 'room')
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = virtualClock()
  const { hub, serve, send } = messageService(15_000, clock)
  const inbox = new Inbox('http://hub.test/', 'ada', { clock, fetch: simulate(serve, { clock }) })
  const heard: string[] = []
  await inbox.stream.ready
  for (let minute = 0; minute < 60; minute++) {
    if (minute === 30) inbox.listen(({ text }) => heard.push(text)) // what waited is heard first
    await send('ada', { from: 'bob', text: `minute ${minute}` })
    await clock.advance(60_000)
  }
  const { heartbeats } = hub.stats()
  console.log(`an hour: ${heard.length} messages, ${heartbeats} heartbeats`)
  assert.equal(heard.length, 60)
  assert(heartbeats >= 180 && heartbeats <= 300) // 15 s × U(0.85, 1), measured from the last byte
  await inbox.close()
  await hub.close()
}
