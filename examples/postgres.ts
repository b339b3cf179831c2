// PostgreSQL: an order and its event are committed together, or not at all (the outbox pattern, without an outbox).
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'pg'
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/node'
import { postgresStore } from 'steady-sse/postgres'
import { createHub } from 'steady-sse/server'

const connectionString = process.env.STEADY_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const schema = `steady_example_${process.pid}`
const pool = new Pool({ connectionString }).on('error', console.error)
const store = postgresStore({ pool, schema })
await store.migrate()
await pool.query(`CREATE TABLE ${schema}.orders (id int PRIMARY KEY)`)

const hub = createHub({ store })
const server = createServer(sse(hub, { stream: () => 'orders' }))
await once(server.listen(0, '127.0.0.1'), 'listening')

async function order(id: number, fails = false): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(`INSERT INTO ${schema}.orders VALUES ($1)`, [id])
    // Last, and soon committed: whoever else publishes in this stream waits for the commit.
    await hub.publish('orders', { event: 'placed', data: { id } }, { transaction: client })
    if (fails) throw new Error('out of stock')
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

const stream = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
await stream.ready
await assert.rejects(order(1, true), /out of stock/) // nobody ever sees this one
await order(2)

for await (const item of stream) {
  assert(item.type === 'event')
  assert.deepEqual(item.json(), { id: 2 })
  console.log(item.event, item.data)
  break
}
await hub.close()
server.close()
await pool.query(`DROP SCHEMA ${schema} CASCADE`)
await pool.end()
