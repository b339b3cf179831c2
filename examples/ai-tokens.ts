// An answer that a model writes word by word. The reader leaves half-way, returns later, and gets the rest exactly once.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub, type Hub } from 'steady-sse/server'

const ANSWER = 'The log is the buffer, so a reader may leave and come back, and the writer never has to wait for it.'

const hub = createHub({ store: memoryStore() })
const server = createServer(sse(hub, { stream: () => 'answer:42', from: 'earliest' }))
await once(server.listen(0, '127.0.0.1'), 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

// The producer belongs to no request: it goes on when every reader has left.
const written = answer(hub, 'answer:42', ANSWER)

// What a page would keep in its storage. Text and cursor change together, so no token is lost or seen twice.
const saved: { text: string; cursor: string | null } = { text: '', cursor: null }

await read(8) // the tab is closed after eight tokens
console.log('left at:', saved.text)
await written // meanwhile the answer is finished
await read()
console.log('in full:', saved.text)
assert.equal(saved.text, ANSWER)

await read() // with the cursor at the end of a sealed stream, the server has nothing more (204)
assert.equal(saved.text, ANSWER)
await hub.close()
server.close()

/** A stand-in for a model. The seal tells readers that nothing will follow. */
async function answer(to: Hub, stream: string, text: string): Promise<void> {
  for (const token of text.match(/\S+\s*/g) ?? []) {
    await delay(20)
    await to.publish(stream, { data: { token } })
  }
  await to.seal(stream)
}

/** Reads on from what is saved, to the seal or for so many tokens. */
async function read(most = Number.POSITIVE_INFINITY): Promise<void> {
  let tokens = 0
  for await (const item of connect(url, { cursor: saved.cursor })) {
    if (item.type === 'gap') throw new Error(`Tokens are missing (${item.reason}): load the whole answer instead.`)
    saved.text += item.json<{ token: string }>().token
    saved.cursor = item.id
    if (++tokens === most) return
  }
}
