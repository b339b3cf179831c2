// Hono 4 on Node: the same handler runs wherever Hono does.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/hono'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'

type App = { Variables: { user: string | undefined } }

const users = new Map([['Bearer ada-token', 'ada']])
const hub = createHub({ store: memoryStore() })

const app = new Hono<App>()
app.use(cors({ origin: 'https://app.example' })) // its fields are in the head of streams too
app.use(async (c, next) => {
  c.set('user', users.get(c.req.header('authorization') ?? ''))
  await next()
})
app.get(
  '/inbox',
  sse(hub, {
    stream(c: Context<App>) {
      const user = c.get('user')
      // Before the response opens, an HTTPException is the response that it says. Other errors go to `app.onError`.
      if (!user) throw new HTTPException(401, { message: 'Who are you?' })
      return `inbox:${user}`
    },
  }),
)

const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/inbox`

await assert.rejects(connect(url).ready, { code: 'HTTP_STATUS', status: 401 })

const inbox = connect(url, { headers: { authorization: 'Bearer ada-token' } })
await inbox.ready
await hub.publish('inbox:ada', [{ data: 'one' }, { data: 'two' }])
await hub.publish('inbox:bob', { data: 'not for ada' })
await hub.seal('inbox:ada') // complete: the loop below ends

const seen: string[] = []
for await (const item of inbox) if (item.type === 'event') seen.push(item.data)
console.log('inbox:', seen.join(', '))
assert.deepEqual(seen, ['one', 'two'])

server.close()
await hub.close()
