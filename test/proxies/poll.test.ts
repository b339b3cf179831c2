import { beforeEach, expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { connect, type StateChange } from '../../src/client/index.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { listen } from '../support/served.js'
import { until } from '../support/turns.js'
import { numbers } from '../support/world.js'
import { nginx } from './kinds.js'
import { startNginx } from './nginx.js'
import { skipWithout } from './proxy.js'

beforeEach((context) => skipWithout(nginx, context))

test('through an nginx that ignores every hint, all events come by polls; once it is mended, streaming returns', async () => {
  await using hub = createHub({ store: memoryStore() })
  await using served = await listen(sse(hub, { stream: () => 's' }))
  await using proxy = await startNginx((served.address as { port: number }).port, 'deaf')
  const changes: StateChange[] = []
  const seen: string[] = []
  const times: number[] = []
  const stream = connect(`${proxy.url}/s`, { connectTimeoutMs: 1_000, onState: (change) => changes.push(change) })
  void (async () => {
    for await (const item of stream) {
      seen.push(item.type === 'gap' ? `gap ${item.reason}` : item.data)
      times.push(performance.now())
    }
  })()
  await stream.ready
  expect(changes.at(-1)).toMatchObject({ state: 'open', mode: 'poll' })

  const published: number[] = []
  for (const data of numbers(1, 100)) {
    await hub.publish('s', { data })
    published.push(performance.now())
    if (Number(data) % 10 === 0) await until(() => seen.length === Number(data))
  }
  expect(seen).toEqual(numbers(1, 100))
  expect(new Set(changes.filter(({ state }) => state === 'open').map(({ mode }) => mode))).toEqual(new Set(['poll']))
  const late = times.map((time, n) => time - (published[n] ?? 0)).sort((a, b) => a - b)
  console.log(`by polls: p50 ${Math.round(late[50] ?? 0)} ms, at most ${Math.round(late.at(-1) ?? 0)} ms late`)

  await proxy.stop()
  await proxy.start('recommended')
  const isStreaming = () => changes.at(-1)?.state === 'open' && changes.at(-1)?.mode === 'stream'
  for (let n = 101; !isStreaming(); n++) {
    await hub.publish('s', { data: String(n) })
    await until(() => seen.length === n)
  }
  const { length } = seen
  const more = numbers(length + 1, length + 20)
  for (const data of more) await hub.publish('s', { data })
  await until(() => seen.length === length + 20)
  expect(seen).toEqual(numbers(1, length + 20))
  stream.close()
}, 60_000)
