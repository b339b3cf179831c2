// An answer goes through the hub at the pace of its slowest reader: the model is asked for a token when there is room.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

const hub = createHub({ store: memoryStore() })
const server = createServer(sse(hub, { stream: () => 'answer:7', from: 'earliest' }))
await once(server.listen(0, '127.0.0.1'), 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

/** A stand-in for a model. */
async function* tokens() {
  for (const word of 'Nothing is lost, and nobody waits in silence.'.match(/\S+\s*/g) ?? []) {
    await delay(10)
    yield { event: 'token', data: { word } }
  }
}

async function read(): Promise<string> {
  let text = ''
  for await (const item of connect(url)) if (item.type === 'event') text += item.json<{ word: string }>().word
  return text // the seal ends the loop
}

const [{ count }, ...texts] = await Promise.all([hub.pipe('answer:7', tokens(), { maxLead: 100 }), read(), read()])
console.log(`${count} tokens:`, texts[0])
assert.deepEqual(texts, Array(2).fill('Nothing is lost, and nobody waits in silence.'))

// When the model fails, the readers are told before the end: a gap with the reason `source`.
async function* failing() {
  yield { event: 'token', data: { word: 'Half an ans' } }
  throw new Error('the model is gone')
}
await assert.rejects(hub.pipe('answer:8', failing()), /the model is gone/)
const { items } = await hub.read('answer:8')
assert.deepEqual(
  items.map((item) => (item.type === 'gap' ? item.reason : item.data)),
  ['{"word":"Half an ans"}', 'source'],
)

await hub.close()
server.close()
