// Fastify 5: an answer that is written while it is read, to a POST whose body Fastify parsed; and an orderly end.
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/fastify'
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'

const hub = createHub({ store: memoryStore() })
const app = Fastify()

// Fields that hooks set on the reply are in the head of a stream too: CORS, cookies.
app.addHook('onRequest', async (_, reply) => {
  reply.header('access-control-allow-origin', 'https://app.example')
})
// close() waits for open responses, and a stream never ends by itself: the hub ends them first.
app.addHook('preClose', () => hub.close())

app.get<{ Params: { city: string } }>('/weather/:city', sse(hub, { stream: ({ params }) => `weather:${params.city}` }))

app.post<{ Body: { question: string } }>(
  '/answers',
  sse(async function* ({ body }, { signal }) {
    for (const word of answer(body.question)) {
      if (signal.aborted) return // the client has gone: no need to go on
      await delay(10)
      yield { data: word }
    }
  }),
)

/** A stand-in for a model. */
function answer(question: string): string[] {
  return `You asked: ${question}`.split(' ')
}

const url = await app.listen({ port: 0, host: '127.0.0.1' })

const words: string[] = []
const body = JSON.stringify({ question: 'Will it rain?' })
const headers = { 'content-type': 'application/json' }
for await (const item of connect(`${url}/answers`, { method: 'POST', headers, body })) {
  if (item.type === 'event') words.push(item.data)
}
console.log(words.join(' '))
assert.equal(words.join(' '), 'You asked: Will it rain?')

const oslo = connect(`${url}/weather/oslo`)
await oslo.ready
await hub.publish('weather:oslo', { data: { celsius: -3 } })
for await (const item of oslo) {
  if (item.type === 'gap') continue
  assert.equal(item.json<{ celsius: number }>().celsius, -3)
  await app.close() // ends the stream; its client would try again
  break
}
