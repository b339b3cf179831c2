// An inbox that wakes agents, behind a proxy that holds every response back until it ends: nobody sleeps through a wake.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { type Context, Hono } from 'hono'
import { type ConnectOptions, connect } from 'steady-sse/client'
import { acknowledge, type HeaderChanges, sse } from 'steady-sse/hono'
import { memoryStore } from 'steady-sse/memory'
import { createHub, type Hub } from 'steady-sse/server'
import { simulate, virtualClock } from 'steady-sse/testing'

/** The server. What is in an inbox is stored; that it is there is published; that an agent heard of it is acknowledged. */
export function inboxes(hub: Hub, keys: ReadonlyMap<string, string>, headers?: HeaderChanges) {
  const mail = new Map<string, string[]>()
  const agentOf = (c: Context) => {
    const agent = keys.get(c.req.header('authorization') ?? '')
    if (!agent) throw Response.json({ error: 'unknown agent' }, { status: 401 }) // before the stream is open
    return agent
  }
  const app = new Hono()
  // An agent that starts begins with the newest wake, one that comes back with those it missed.
  app.get('/wakes', sse(hub, { stream: (c) => `wakes:${agentOf(c)}`, from: 'last:1', headers }))
  app.post('/acks', acknowledge(hub))
  app.get('/mail', (c) => c.json(mail.get(agentOf(c))?.slice(Number(c.req.query('after'))) ?? []))
  const put = async (agent: string, text: string) => {
    mail.set(agent, [...(mail.get(agent) ?? []), text])
    await hub.publish(`wakes:${agent}`, { event: 'wake', data: '' })
  }
  return { app, put }
}

/** The agent: sleeps until it is woken, then works through what is new in its inbox. */
export async function runAgent(server: string, key: string, work: (mail: string) => void, options: ConnectOptions) {
  const headers = { authorization: key }
  const ask = options.fetch ?? fetch
  let seen = 0
  for await (const _ of connect(`${server}/wakes`, { headers, acks: '/acks', ...options })) {
    // A wake, or a gap where wakes are missing: either way, look.
    const answer = await ask(`${server}/mail?after=${seen}`, { headers })
    for (const mail of (await answer.json()) as string[]) {
      seen++
      work(mail)
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  const { app, put } = inboxes(hub, new Map([['Bearer 1', 'ada']]))
  const deaf = simulate((request) => app.fetch(request), { clock, faults: [{ kind: 'buffering', bytes: Infinity }] })
  const done: string[] = []
  const stopping = new AbortController()
  const running = runAgent('http://hub.test', 'Bearer 1', (mail) => done.push(mail), {
    ...{ fetch: deaf, clock, signal: stopping.signal },
    onState: ({ state, mode, reason }) => console.log(`${mode}: ${state}${reason ? `, ${reason}` : ''}`),
  })
  await clock.advance(30_000)
  for (const text of ['one', 'two', 'three']) {
    await put('ada', text)
    await clock.advance(1_000)
  }
  console.log('worked on:', done.join(', '))
  assert.deepEqual(done, ['one', 'two', 'three'])
  stopping.abort()
  await running
  await hub.close()
}
