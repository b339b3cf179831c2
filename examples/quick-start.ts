// A server, a publisher and a client in one file: npx tsx examples/quick-start.ts
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

// The server: a hub on a store, and a listener that serves one of its streams.
const hub = createHub({ store: memoryStore() })
const server = createServer(sse(hub, { stream: () => 'news' })).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

// The client: an async iterable that connects by itself, and again after every failure.
const news = connect(`http://127.0.0.1:${port}/`)
await news.ready // joined: nothing that is published from now on can be missed

await hub.publish('news', { event: 'headline', data: { title: 'Hello' } })
await hub.publish('news', { event: 'headline', data: { title: 'Line\nbreaks are safe' } })
await hub.publish('news', { data: 'plain text' })
await hub.seal('news') // complete: the client's loop ends

const seen: string[] = []
for await (const item of news) {
  if (item.type === 'gap') {
    // Events are missing, and this says so: load what the stream describes anew, then go on.
    console.log(`gap: ${item.reason}, ${item.missed ?? 'an unknown number of'} events missing`)
    continue
  }
  const text = item.event === 'headline' ? item.json<{ title: string }>().title : item.data
  console.log(`${item.event}: ${JSON.stringify(text)}`)
  seen.push(text)
}

assert.deepEqual(seen, ['Hello', 'Line\nbreaks are safe', 'plain text'])
await hub.close()
server.close()
