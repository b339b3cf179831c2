// A private stream per user: refused before it opens, cut half-way, resumed without a loss.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { type NodeRequest, sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

const users = new Map([['Bearer ada-token', 'ada']])

// A short `retry` keeps the example short. The default sends clients back after 1 to 5 seconds.
const hub = createHub({ store: memoryStore(), retryMs: [100, 200] })
const inbox = sse(hub, {
  stream(request: NodeRequest) {
    const user = users.get(request.headers.authorization ?? '')
    // Thrown before the response opens, so it is an ordinary 403.
    if (!user) throw Object.assign(new Error('Unknown token'), { status: 403 })
    return `inbox:${user}`
  },
  onOpen: ({ stream }) => console.log(`open   ${stream}`),
  onClose: ({ stream }, reason) => console.log(`closed ${stream} (${reason})`),
})

const server = createServer((request, response) => {
  if (request.url?.split('?')[0] === '/inbox') inbox(request, response)
  else response.writeHead(404).end()
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/inbox`

const stranger = connect(url, { headers: { authorization: 'Bearer guess' } })
await assert.rejects(stranger.ready, { code: 'HTTP_STATUS', status: 403 })

// A function makes new headers for every attempt: the place for a token that expires.
const ada = connect(url, {
  headers: async () => ({ authorization: 'Bearer ada-token' }),
  onState: ({ state, attempt, reason }) => console.log(`client ${state}, attempt ${attempt}`, reason ?? ''),
})
await ada.ready
await hub.publish('inbox:ada', [{ data: 'one' }, { data: 'two' }])

const seen: string[] = []
for await (const item of ada) {
  seen.push(item.type === 'gap' ? `gap: ${item.reason}` : item.data)
  if (seen.length === 2) {
    server.closeAllConnections() // every socket is cut, as by a network that fails
    await hub.publish('inbox:ada', [{ data: 'three' }, { data: 'four' }])
    await hub.seal('inbox:ada')
  }
}

assert.deepEqual(seen, ['one', 'two', 'three', 'four'])
await hub.close()
server.close()
