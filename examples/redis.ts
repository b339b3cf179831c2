// Two processes' worth of hubs on one Redis: what is published on one is read on the other, and kept for who comes back.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@redis/client'
import { connect } from 'steady-sse/client'
import { receive, sse } from 'steady-sse/node'
import { redisStore } from 'steady-sse/redis'
import { createHub } from 'steady-sse/server'

const url = process.env.STEADY_REDIS_URL ?? 'redis://127.0.0.1:6379'
const prefix = `steady-sse-example-${process.pid}`

// As each of your processes does. `maxAgeMs` bounds what Redis keeps; the server itself must not evict.
async function start() {
  const client = createClient({ url }).on('error', console.error)
  await client.connect()
  const store = redisStore({ client, prefix, maxAgeMs: 60_000, receiptTtlMs: 60_000 })
  return { client, store, hub: createHub({ store, sealedTtlMs: 60_000 }) }
}
const [one, two] = await Promise.all([start(), start()])

const stream = () => 'news'
const events = sse(one.hub, { stream })
const messages = receive((message) => two.hub.publish('news', { data: message }), { receipts: two.store.receipts })
const server = createServer((request, response) => (request.method === 'POST' ? messages : events)(request, response))
await once(server.listen(0, '127.0.0.1'), 'listening')
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

const reading = connect(address)
await reading.ready

// Sent twice with one key, as after a lost answer: Redis remembers it, and there is one event.
for (let attempt = 1; attempt <= 2; attempt++) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': 'message-1' }
  const answer = await fetch(address, { method: 'POST', headers, body: '"hello from the other process"' })
  assert.equal(answer.headers.get('idempotency-replayed'), attempt === 2 ? 'true' : null)
}
await two.hub.seal('news')

for await (const item of reading) {
  assert(item.type === 'event')
  console.log(item.id, item.data)
}
await Promise.all([one.hub.close(), two.hub.close()])
server.close()
await Promise.all([one.client.close(), two.client.close()])
