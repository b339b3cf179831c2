// Rooms on a broker that takes its time to subscribe: nobody is told "connected" before the broker has said so.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import type { Clock, Source } from 'steady-sse'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'
import { simulate, virtualClock } from 'steady-sse/testing'
import { sse } from 'steady-sse/web'

/** What is asked of a broker. `status` is called when it has subscribed, and when it has lost the subscription. */
export interface Broker {
  subscribe(room: string, message: (data: string) => void, status: (is: 'subscribed' | 'lost') => void): () => void
}

/** A broker as a source: joined is what it has confirmed, and what it lost is said to be lost. */
export function fromBroker(broker: Broker): Source {
  return {
    join: (room, to, signal) =>
      new Promise((resolve, reject) => {
        const message = (data: string) => void to.event({ data }).catch(console.error)
        const leave = broker.subscribe(room, message, (is) => (is === 'lost' ? to.lost() : resolve(leave)))
        signal.addEventListener('abort', () => {
          leave()
          reject(signal.reason)
        })
      }),
  }
}

/** The server: joins before it answers, and answers 503 when it cannot join in time. */
export function rooms(source: Source, clock?: Clock) {
  const hub = createHub({ store: memoryStore(), source, joinTimeoutMs: 5_000, clock })
  return { hub, serve: sse(hub, { stream: (request) => new URL(request.url).pathname.slice(1) }) }
}

/** A stand-in for a broker: what is said in a room before it has subscribed someone, that one does not get. */
export function slowBroker(clock: Clock, delayMs: number) {
  const subscribed = new Set<{ room: string; message: (data: string) => void; status: (is: 'lost') => void }>()
  const subscribe: Broker['subscribe'] = (room, message, status) => {
    const subscription = { room, message, status }
    const cancel = clock.setTimeout(() => {
      subscribed.add(subscription)
      status('subscribed')
    }, delayMs)
    return () => {
      cancel()
      subscribed.delete(subscription)
    }
  }
  const say = (room: string, data: string) => {
    for (const each of subscribed) if (each.room === room) each.message(data)
  }
  return { subscribe, say, subscribed }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = virtualClock()
  const broker = slowBroker(clock, 3_000)
  const { hub, serve } = rooms(fromBroker(broker), clock)
  const stream = connect('http://hub.test/lobby', { clock, fetch: simulate(serve, { clock }) })
  const heard: string[] = []
  const reading = (async () => {
    for await (const item of stream) heard.push(item.type === 'event' ? item.data : `gap: ${item.reason}`)
  })()
  // The page acts as soon as it is connected, as pages do.
  void stream.ready.then(() => broker.say('lobby', 'the answer to the first click'))
  await clock.advance(10_000)
  console.log('heard:', heard.join(', '))
  assert.deepEqual(heard, ['the answer to the first click'])
  stream.close()
  await reading
  await hub.close()
}
