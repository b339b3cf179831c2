// Events that survive a restart, on one machine: npx tsx examples/sqlite.ts
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql' // or better-sqlite3, or node:sqlite
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'
import { sqliteStore } from 'steady-sse/sqlite'

const folder = mkdtempSync(join(tmpdir(), 'steady-sse-'))

/** A server as it is started: all that it knows is in the file. */
async function start(port = 0) {
  const db = new Database(join(folder, 'events.db')) // a connection of the store's own
  const hub = createHub({ store: sqliteStore({ db }) })
  const http = createServer(sse(hub, { stream: () => 'orders' })).listen(port, '127.0.0.1')
  await once(http, 'listening')
  const stop = async () => {
    await hub.close()
    http.closeAllConnections()
    await new Promise((done) => http.close(done))
    db.close()
  }
  return { hub, port: (http.address() as AddressInfo).port, stop }
}

let server = await start()
const orders = connect(`http://127.0.0.1:${server.port}/`)
await orders.ready
await server.hub.publish('orders', { data: 'order 1' })
await server.hub.publish('orders', { data: 'order 2' })

const seen: string[] = []
for await (const item of orders) {
  seen.push(item.type === 'event' ? item.data : `gap: ${item.reason}`)
  console.log(seen.at(-1))
  if (seen.length === 2) {
    // The server ends, another process publishes to the file, and the server is started again.
    await server.stop()
    const other = await start()
    await other.hub.publish('orders', { data: 'order 3, while the server was away' })
    await other.stop()
    server = await start(server.port)
    await server.hub.publish('orders', { data: 'order 4' })
    await server.hub.seal('orders') // complete: the loop ends once the client has everything
  }
}
assert.deepEqual(seen, ['order 1', 'order 2', 'order 3, while the server was away', 'order 4'])
await server.stop()
rmSync(folder, { recursive: true })
