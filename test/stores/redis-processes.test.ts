import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { connect } from '../../src/client/index.js'
import { parseCursor } from '../../src/protocol/cursor.js'
import { createHub } from '../../src/server/index.js'
import { listen } from '../support/served.js'
import { redisAnswers, redisUrl } from '../testing/sources.js'
import { ioredis, type MakeClient, nodeRedis, RedisWorld } from './redis-world.js'

const hasRedis = await redisAnswers()
const why = hasRedis ? '' : ` (no Redis at ${redisUrl}; set STEADY_REDIS_URL)`
const EVENTS = 300

const children = new Set<ChildProcess>()
afterEach(async () => {
  for (const child of children) await kill(child)
})

const clients: [string, MakeClient][] = [
  ['@redis/client', nodeRedis],
  ['ioredis', ioredis],
]

describe.skipIf(!hasRedis).each(clients)(`several processes on one Redis, here with %s${why}`, (name, make) => {
  test('what one publishes a client of another handles within milliseconds', { timeout: 60_000 }, async () => {
    await using world = await RedisWorld.begin(make)
    await using hub = createHub({ store: await world.store() })
    await using site = await listen(sse(hub, { stream: () => 's' }))
    const { port } = site.address as AddressInfo
    await using stream = connect(`http://127.0.0.1:${port}/`)
    await stream.ready
    const child = publisher(world.prefix)
    const delays: number[] = []
    for await (const item of stream) {
      if (item.type !== 'event') throw new Error(`a gap: ${item.reason}`)
      delays.push(Number(process.hrtime.bigint() - BigInt(item.data)) / 1e6)
      if (delays.length === EVENTS) break
    }
    await kill(child)
    // The first ones are those of two processes that warm up.
    const sorted = delays.slice(EVENTS / 3).sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
    console.info(`publish → Redis → ${name} → client: p50 ${at(0.5).toFixed(2)} ms, p99 ${at(0.99).toFixed(2)} ms`)
    expect(at(0.5)).toBeLessThan(250)
  })

  test('writers that are killed leave no hole, and every reader has every event, in order', {
    timeout: 60_000,
  }, async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store()
    await using hub = createHub({ store })
    const reader = await hub.subscribe('s', { from: 'earliest' })
    const [first, second] = [publisher(world.prefix), publisher(world.prefix)]
    const offsets: number[] = []
    const take = async (count: number) => {
      for (let n = 0; n < count; n++) {
        const { value } = await reader.next()
        if (value?.type !== 'event') throw new Error(`Expected an event, got ${value?.type}`)
        offsets.push(parseCursor(value.id)?.offset ?? 0)
      }
    }
    await take(100)
    await kill(first)
    await take(100)
    await kill(second)
    const { head } = await store.open('s')
    await take(head - offsets.length)
    expect(offsets).toEqual(Array.from({ length: head }, (_, index) => index + 1))
  })
})

function publisher(prefix: string): ChildProcess {
  const args = ['--import', 'tsx', 'test/stores/redis-publisher.ts', redisUrl, prefix, 's']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  children.add(child)
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  children.delete(child)
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
