import { once } from 'node:events'
import { createCluster } from '@redis/client'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createHub } from '../../src/server/create-hub.js'
import { redisStore } from '../../src/stores/redis.js'
import { hasRedisServer, RedisCluster } from './redis-servers.js'
import type { TestClient } from './redis-world.js'

/** Longer than it takes on a busy machine. */
const SOON = { timeout: 10_000 }
const why = hasRedisServer ? '' : ' (no redis-server and redis-cli to start a cluster with)'

let cluster: RedisCluster
beforeAll(async () => {
  if (hasRedisServer) cluster = await RedisCluster.start()
})
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

const clients: [string, (urls: readonly string[]) => Promise<TestClient>][] = [
  [
    '@redis/client',
    async (urls) => {
      const client = createCluster({ rootNodes: urls.map((url) => ({ url })) })
      client.on('error', () => {})
      await client.connect()
      return { client, close: () => client.destroy() }
    },
  ],
  [
    'ioredis',
    async (urls) => {
      const client = new Cluster([...urls])
      client.on('error', () => {})
      await once(client, 'ready')
      return { client, close: () => client.disconnect() }
    },
  ],
]

describe.skipIf(!hasRedisServer).each(clients)(`a cluster, with %s${why}`, (name, make) => {
  test('streams are spread over its nodes, each in one slot: append, keys, read, hint and seal', {
    timeout: 60_000,
  }, async () => {
    const made = await make(cluster.urls)
    const prefix = `steady-${name}`
    const store = redisStore({ client: made.client, prefix })
    const streams = Array.from({ length: 24 }, (_, n) => `stream {${n}} }`)
    for (const stream of streams) {
      const hints: (number | undefined)[] = []
      const unwatch = await store.watch(stream, (to) => hints.push(to?.head))
      const events = ['1', '2'].map((data) => ({ event: undefined, data, key: data }))
      expect(await store.append(stream, events)).toMatchObject([{ offset: 1 }, { offset: 2 }])
      await expect.poll(() => hints, SOON).toContain(2)
      hints.length = 0
      expect(await store.append(stream, events)).toMatchObject([{ duplicate: true }, { duplicate: true }])
      const page = await store.read(stream, 0, { limit: 10 })
      expect(page?.events.map(({ data }) => data)).toEqual(['1', '2'])
      await store.seal(stream)
      await expect.poll(() => hints, SOON).toContain(undefined)
      unwatch()
    }
    const counts = await Promise.all(
      cluster.nodes.map(async (node) => keysOf(await node.command('KEYS', `${prefix}*`))),
    )
    expect(counts.flat()).toHaveLength(3 * streams.length)
    for (const keys of counts) expect(keys.length % 3).toBe(0)
    expect(counts.filter((keys) => keys.length > 0).length).toBeGreaterThan(1)
    await store.close?.()
    made.close()
  })

  test('two processes share its streams, and its receipts', async () => {
    const [one, two] = await Promise.all([make(cluster.urls), make(cluster.urls)])
    const prefix = `steady-two-${name}`
    const first = redisStore({ client: one.client, prefix })
    const second = redisStore({ client: two.client, prefix })
    await using reading = createHub({ store: first })
    await using writing = createHub({ store: second })
    const reader = await reading.subscribe('s')
    for (let n = 1; n <= 20; n++) {
      await writing.publish('s', { data: String(n) })
      expect((await reader.next()).value).toMatchObject({ data: String(n) })
    }
    const claim = await first.receipts.claim('scope', 'key', 'print', 1_000)
    expect(claim.state).toBe('claimed')
    expect(await second.receipts.claim('scope', 'key', 'print', 1_000)).toMatchObject({ state: 'busy' })
    await Promise.all([reading.close(), writing.close()])
    one.close()
    two.close()
  })

  test('where the servers are too old for sharded hints, plain ones are sent', { timeout: 60_000 }, async () => {
    const removed = ['SPUBLISH', 'SSUBSCRIBE'].flatMap((command) => ['--rename-command', command, ''])
    await using old = await RedisCluster.start(...removed)
    const made = await make(old.urls)
    const store = redisStore({ client: made.client, prefix: 'steady' })
    for (const stream of ['a', 'b', 'c', 'd', 'e']) {
      const hints: (number | undefined)[] = []
      const unwatch = await store.watch(stream, (to) => hints.push(to?.head))
      await store.append(stream, [{ event: undefined, data: '1', key: undefined }])
      await expect.poll(() => hints, SOON).toContain(1)
      unwatch()
    }
    await store.close?.()
    made.close()
  })
})

function keysOf(answer: unknown): unknown[] {
  return Array.isArray(answer) ? answer : []
}
