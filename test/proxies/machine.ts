// One of several server processes on one store. It publishes what its parent tells it to, and says when that is stored.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@redis/client'
import { Pool } from 'pg'
import { sse } from '../../src/adapters/node.js'
import type { EventStore } from '../../src/protocol/store.js'
import { createHub } from '../../src/server/index.js'
import { postgresStore } from '../../src/stores/postgres.js'
import { redisStore } from '../../src/stores/redis.js'

/** What the parent asks for, and what it is answered. */
export interface Order {
  readonly id: number
  readonly stream: string
  readonly data: string
}

const [kind, url = '', name = '', port = '0'] = process.argv.slice(2)

async function store(): Promise<EventStore> {
  if (kind === 'postgres') return postgresStore({ pool: new Pool({ connectionString: url, max: 6 }), schema: name })
  const client = createClient({ url })
  client.on('error', () => {})
  return redisStore({ client: await client.connect(), prefix: name })
}

const hub = createHub({ store: await store(), retryMs: [200, 600] })
const server = http.createServer(sse(hub, { stream: (request) => new URL(request.url ?? '', 'http://x').pathname }))
server.listen(Number(port), '127.0.0.1')
await once(server, 'listening')

process.on('message', ({ id, stream, data }: Order) => {
  // Named by the parent, so that it may ask another process when this one has died over it.
  hub.publish(stream, { data, key: data }).then(
    () => process.send?.({ id }),
    (error: unknown) => process.send?.({ id, error: String(error) }),
  )
})
process.on('disconnect', () => process.exit())
process.send?.({ port: (server.address() as AddressInfo).port })
