// Redis pub/sub feeds the streams. It keeps nothing, so what is published while nobody reads becomes a gap.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@redis/client'
import type { Source } from 'steady-sse'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

const url = process.env.STEADY_REDIS_URL ?? 'redis://127.0.0.1:6379'
const publisher = await createClient({ url }).connect()
const subscriber = createClient({ url }).on('error', console.error)
await subscriber.connect()

const source: Source = {
  async join(channel, to) {
    const listener = (message: string) => to.event({ data: message }).catch(console.error)
    const lost = () => to.lost() // the connection broke: nobody knows what was published meanwhile
    subscriber.on('reconnecting', lost)
    await subscriber.subscribe(channel, listener) // resolves when Redis has confirmed
    return async () => {
      subscriber.off('reconnecting', lost)
      await subscriber.unsubscribe(channel, listener)
    }
  },
}

const channel = `steady-sse-example:${process.pid}`
const hub = createHub({ store: memoryStore(), source })
const server = createServer(sse(hub, { stream: () => channel }))
await once(server.listen(0, '127.0.0.1'), 'listening')

const stream = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
await stream.ready
assert.equal(await publisher.publish(channel, 'right after the join'), 1)

for await (const item of stream) {
  assert(item.type === 'event' && item.data === 'right after the join')
  console.log(item.data)
  break
}
await hub.close()
server.close()
await Promise.all([subscriber.close(), publisher.close()])
