// LISTEN/NOTIFY of PostgreSQL feeds the streams. It keeps nothing, so what is notified while nobody reads becomes a gap.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from 'pg'
import type { Source } from 'steady-sse'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

const connectionString = process.env.STEADY_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const publisher = new Client({ connectionString })
const listener = new Client({ connectionString }) // a connection of its own: LISTEN does not survive a pooler
await Promise.all([publisher.connect(), listener.connect()])

const source: Source = {
  async join(channel, to) {
    const notified = (message: { channel: string; payload?: string | undefined }) => {
      if (message.channel === channel) to.event({ data: message.payload ?? '' }).catch(console.error)
    }
    const lost = () => to.lost() // a real program connects and listens anew
    listener.on('notification', notified).on('end', lost)
    await listener.query(`LISTEN ${listener.escapeIdentifier(channel)}`) // confirmed when it answers
    return async () => {
      listener.off('notification', notified).off('end', lost)
      await listener.query(`UNLISTEN ${listener.escapeIdentifier(channel)}`)
    }
  },
}

const channel = `steady_sse_example_${process.pid}`
const hub = createHub({ store: memoryStore(), source })
const server = createServer(sse(hub, { stream: () => channel }))
await once(server.listen(0, '127.0.0.1'), 'listening')

const stream = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
await stream.ready
await publisher.query('SELECT pg_notify($1, $2)', [channel, 'right after the join'])

for await (const item of stream) {
  assert(item.type === 'event' && item.data === 'right after the join')
  console.log(item.data)
  break
}
await hub.close()
server.close()
await Promise.all([listener.end(), publisher.end()])
