// Request in, Response out: for edge runtimes, Bun, Deno, and every framework with fetch-style handlers.
import assert from 'node:assert/strict'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'
import { sse } from 'steady-sse/web'

const hub = createHub({ store: memoryStore() })

// One stream per city: GET /weather/oslo. Requests choose among names, they do not make them up.
const cities = new Set(['oslo', 'rome'])
const weather = sse(hub, {
  from: 'last:1', // a client without a cursor begins with the newest event
  stream(request) {
    const [, base, city = ''] = new URL(request.url).pathname.split('/')
    if (base !== 'weather' || !cities.has(city)) throw new Response('No such stream', { status: 404 })
    return `weather:${city}`
  },
})

// Where a runtime calls it, this is all there is: export default { fetch: weather }
// Here no server runs. The client is given a `fetch` that calls the handler, as a test would do it.
const app: typeof fetch = (input, init) => weather(new Request(input, init))

await hub.publish('weather:oslo', { data: { celsius: -3 } })
await hub.publish('weather:oslo', { data: { celsius: -2 } })

const oslo = connect('https://app.example/weather/oslo', { fetch: app })
await oslo.ready
await hub.publish('weather:oslo', { data: { celsius: -1 } })
await hub.publish('weather:rome', { data: { celsius: 17 } })

const seen: number[] = []
for await (const item of oslo) {
  if (item.type === 'gap') continue
  seen.push(item.json<{ celsius: number }>().celsius)
  if (seen.length === 2) break // leaving the loop closes the connection
}
assert.deepEqual(seen, [-2, -1])
console.log(`Oslo: ${seen.join(' °C, then ')} °C`)

const atlantis = connect('https://app.example/weather/atlantis', { fetch: app })
await assert.rejects(atlantis.ready, { code: 'HTTP_STATUS', status: 404 })

await hub.close()
