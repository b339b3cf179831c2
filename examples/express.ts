// Express 5: a room is read by GET and written to by POST. What stands in front of the stream works as ever.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import compression from 'compression'
import express from 'express'
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/express'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'

const users = new Map([['Bearer ada-token', 'ada']])
const hub = createHub({ store: memoryStore() })

const app = express()
app.use(compression()) // leaves streams alone: their head says `no-transform`
app.use((request, response, next) => {
  response.locals.user = users.get(request.get('authorization') ?? '')
  if (response.locals.user) next()
  else response.status(401).end()
})

const room = sse<{ id: string }>(hub, {
  from: 'earliest', // a newcomer reads what was said before
  stream({ params }) {
    // Thrown before the response opens, so it is an ordinary 404. Any other error would go to `next`.
    if (params.id !== 'lobby') throw Object.assign(new Error('No such room'), { status: 404 })
    return `room:${params.id}`
  },
})
app.get('/rooms/:id', room)
app.post('/rooms/:id', express.json(), async (request, response) => {
  await hub.publish(`room:${request.params.id}`, { data: { by: response.locals.user, text: request.body.text } })
  response.status(202).end()
})

const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const rooms = `http://127.0.0.1:${(server.address() as AddressInfo).port}/rooms`
const headers = { authorization: 'Bearer ada-token', 'content-type': 'application/json' }
const say = (text: string) => fetch(`${rooms}/lobby`, { method: 'POST', headers, body: JSON.stringify({ text }) })

await assert.rejects(connect(`${rooms}/lobby`).ready, { code: 'HTTP_STATUS', status: 401 })
await assert.rejects(connect(`${rooms}/attic`, { headers }).ready, { code: 'HTTP_STATUS', status: 404 })

await say('Hello?')
await say('Anyone here?')
const heard: string[] = []
for await (const item of connect(`${rooms}/lobby`, { headers })) {
  if (item.type === 'gap') continue
  const { by, text } = item.json<{ by: string; text: string }>()
  heard.push(`${by}: ${text}`)
  if (heard.length === 2) break
}
console.log(heard.join('\n'))
assert.deepEqual(heard, ['ada: Hello?', 'ada: Anyone here?'])

server.close()
await hub.close()
