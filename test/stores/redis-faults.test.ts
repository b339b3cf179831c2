import { describe, expect, test } from 'vitest'
import { createHub } from '../../src/server/create-hub.js'
import type { Subscription } from '../../src/server/subscription.js'
import { redisStore } from '../../src/stores/redis.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtual-clock.js'
import { hasRedisServer, RedisServer } from './redis-servers.js'
import { ioredis, type MakeClient, nodeRedis, RedisWorld } from './redis-world.js'

/** Longer than it takes on a busy machine. */
const SOON = { timeout: 10_000 }
const why = hasRedisServer ? '' : ' (no redis-server and redis-cli to start servers with)'

test.runIf(process.env.CI === 'true')('there is a redis-server to start', () => {
  expect(hasRedisServer).toBe(true)
})

const clients: [string, MakeClient][] = [
  ['@redis/client', nodeRedis],
  ['ioredis', ioredis],
]

describe.skipIf(!hasRedisServer).each(clients)(`a Redis that fails, with %s${why}`, (_, make) => {
  test('a failover to a replica that lagged behind is announced as diverged, and nothing is lost in silence', async () => {
    await using master = await RedisServer.start('--repl-diskless-sync-delay', '0')
    await using replica = await RedisServer.start()
    await using world = await RedisWorld.begin(make, master.url)
    await using link = await RedisWorld.begin(make, master.url)
    await using hub = createHub({ store: await world.store() })
    await hub.publish('s', [1, 2, 3].map(data))
    const reader = await hub.subscribe('s', { from: 'earliest' })
    await replica.command('REPLICAOF', '127.0.0.1', String(link.cable.port))
    while (!String(await replica.command('INFO', 'replication')).includes('master_link_status:up'));
    while ((await replica.command('EXISTS', `${world.prefix}:{s}:meta`)) !== 1);
    link.cable.cut()
    const lost = await hub.publish('s', [4, 5].map(data))
    expect(await take(reader, 5)).toEqual(['1', '2', '3', '4', '5'])

    world.cable.cut()
    await master.kill()
    await replica.command('REPLICAOF', 'NO', 'ONE')
    // Somebody writes to the new master before this process finds it: offsets 4 and 5 are used again.
    await using there = await RedisWorld.begin(make, replica.url)
    const other = redisStore({ client: await there.client(), prefix: world.prefix })
    const anew = ['new 4', 'new 5', 'new 6'].map(event)
    expect((await other.append('s', anew)).map(({ offset }) => offset)).toEqual([4, 5, 6])
    world.cable.mend(replica.url)

    expect(await take(reader, 1)).toEqual(['gap diverged null'])
    const returned = await hub.subscribe('s', { cursor: lost.at(-1)?.cursor })
    expect(await take(returned, 1)).toEqual(['gap diverged null'])
    await publishOnce(hub, 'after')
    expect(await take(reader, 1)).toEqual(['after'])
    expect(await take(returned, 1)).toEqual(['after'])
  })

  test('FLUSHALL under connected readers is announced as another epoch', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    await using hub = createHub({ store: await world.store() })
    await hub.publish('s', [1, 2].map(data))
    const reader = await hub.subscribe('s', { from: 'earliest' })
    expect(await take(reader, 2)).toEqual(['1', '2'])
    await server.command('FLUSHALL')
    // The scripts are gone, too.
    await server.command('SCRIPT', 'FLUSH')
    await hub.publish('s', data('anew'))
    expect(await take(reader, 2)).toEqual(['gap epoch null', 'anew'])
  })

  test('a server that is killed and comes back as an older copy is announced, too', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    await using hub = createHub({ store: await world.store() })
    await hub.publish('s', [1, 2].map(data))
    await server.command('SAVE')
    await hub.publish('s', [3, 4].map(data))
    const reader = await hub.subscribe('s', { from: 'earliest' })
    expect(await take(reader, 4)).toEqual(['1', '2', '3', '4'])
    await server.kill()
    await expect(hub.publish('s', data('lost'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(hub.subscribe('other')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await server.restart()
    await publishOnce(hub, 'another 3')
    const [gap] = await take(reader, 1)
    expect(['gap ahead null', 'gap diverged null']).toContain(gap)
  })

  test('when nothing was lost, a server that was away costs no gap and no event', async () => {
    await using server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    await using world = await RedisWorld.begin(make, server.url)
    await using hub = createHub({ store: await world.store() })
    await hub.publish('s', [1, 2].map(data))
    const reader = await hub.subscribe('s', { from: 'earliest' })
    expect(await take(reader, 2)).toEqual(['1', '2'])
    await server.kill()
    await server.restart()
    await publishOnce(hub, '3')
    expect(await take(reader, 1)).toEqual(['3'])
  })

  test('a connection for subscriptions that is lost is replaced, whether the client brings it back or not', async () => {
    for (const retries of [true, false]) {
      await using server = await RedisServer.start()
      await using world = await RedisWorld.begin(make, server.url)
      world.retries = retries
      const [near, far] = [await world.store(), await world.store()]
      const hinted = new Map<string, number>()
      for (const stream of ['a', 'b']) {
        await near.watch(stream, (to) => void (to && hinted.set(stream, to.head)))
        await far.append(stream, [event('1')])
      }
      await expect.poll(() => [...hinted], SOON).toEqual(['a', 'b'].map((stream) => [stream, 1]))
      let dirty = 0
      await near.watch('c', (to) => void (to === undefined && dirty++))
      await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      // A hint that says nothing: whatever was appended meanwhile is looked for.
      await expect.poll(() => dirty, SOON).toBeGreaterThan(0)
      for (const stream of ['a', 'b']) await far.append(stream, [event('2')])
      await expect.poll(() => [...hinted], SOON).toEqual(['a', 'b'].map((stream) => [stream, 2]))
    }
  })

  test('connections that swallow everything are replaced: publishes, readers and joins go on, without a gap', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    const clock = virtualClock()
    await using hub = createHub({ store: await world.store(), clock, publishTimeoutMs: 60_000 })
    await hub.publish('s', data('1'))
    const reader = await hub.subscribe('s', { from: 'earliest' })
    expect(await take(reader, 1)).toEqual(['1'])
    // The connections that the store made for itself break in the same way.
    for (const text of ['2', '3']) {
      world.cable.swallow()
      const swallowed = await meanwhile(clock, world, reasonOf(hub.publish('s', data('swallowed'))))
      expect(swallowed).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      await meanwhile(clock, world, publishOnce(hub, text))
      expect(await meanwhile(clock, world, take(reader, 1))).toEqual([text])
      const joined = await meanwhile(clock, world, joinOnce(hub, `joined ${text}`))
      await joined.return?.()
    }
    await hub.close()
    // What is left is the client of the user, and the one that asks.
    await expect.poll(async () => clientsOf(await server.command('CLIENT', 'LIST')), SOON).toHaveLength(3)
  })

  test('a connection for subscriptions that swallows everything is replaced, with no publish to notice', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    const clock = virtualClock()
    const near = await world.store()
    near.attach?.({ clock, maxStreams: 1, sealedTtlMs: 1 })
    const hints: (number | undefined)[] = []
    await near.watch('s', (to) => hints.push(to?.head))
    world.cable.swallow()
    const unheard = near.watch('t', () => {})
    await expect(meanwhile(clock, world, unheard)).rejects.toThrow('did not answer')
    // The hint that says nothing comes when all is subscribed again.
    await meanwhile(clock, world, expect.poll(() => hints, SOON).toContain(undefined))
    const other = redisStore({ client: await world.client(), prefix: world.prefix })
    await other.append('s', [event('1')])
    await expect.poll(() => hints, SOON).toContain(1)
  })

  test('a connection for subscriptions that swallows its first or its last one is replaced, too', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    const clock = virtualClock()
    const store = await world.store()
    store.attach?.({ clock, maxStreams: 1, sealedTtlMs: 1 })
    for (let round = 0; round < 2; round++) {
      const leave = await meanwhile(
        clock,
        world,
        store.watch('s', () => {}),
      )
      if (round === 0) leave()
      world.cable.swallow()
      if (round === 1) leave()
      const unheard = store.watch('t', () => {})
      await expect(meanwhile(clock, world, unheard)).rejects.toThrow('did not answer')
      const unwatch = await meanwhile(
        clock,
        world,
        store.watch('t', () => {}),
      )
      unwatch()
    }
  })

  test('a stream that Redis evicted in part is never merged with what comes after', async () => {
    await using server = await RedisServer.start()
    await using world = await RedisWorld.begin(make, server.url)
    await using hub = createHub({ store: await world.store() })
    const [, second] = await hub.publish('s', [1, 2, 3].map(data))
    await server.command('DEL', `${world.prefix}:{s}:log`)
    const { cursor } = await hub.publish('s', data('4'))
    expect(await take(await hub.subscribe('s', { cursor: second?.cursor }), 2)).toEqual(['gap expired 1', '4'])
    await server.command('DEL', `${world.prefix}:{s}:meta`)
    await hub.publish('s', data('anew'))
    expect(await take(await hub.subscribe('s', { cursor }), 2)).toEqual(['gap epoch null', 'anew'])
  })

  test('a server that is full refuses a batch as a whole', async () => {
    await using server = await RedisServer.start('--maxmemory-policy', 'noeviction')
    await using world = await RedisWorld.begin(make, server.url)
    await using hub = createHub({ store: await world.store() })
    await hub.publish('s', data('1'))
    await server.command('CONFIG', 'SET', 'maxmemory', '1')
    await expect(hub.publish('s', [2, 3].map(data))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await server.command('CONFIG', 'SET', 'maxmemory', '0')
    await hub.publish('s', data('2'))
    expect(await take(await hub.subscribe('s', { from: 'earliest' }), 2)).toEqual(['1', '2'])
  })
})

const event = (text: string) => ({ event: undefined, data: text, key: undefined })
const data = (value: string | number) => ({ data: String(value) })

const reasonOf = (promise: Promise<unknown>) => promise.then(String, (error: unknown) => error)
const clientsOf = (list: unknown) => String(list).trim().split('\n')

/** Lets time pass while something is under way, and Redis answer in between: slower where the machine is. */
async function meanwhile<T>(clock: VirtualClock, world: RedisWorld, promise: Promise<T>): Promise<T> {
  let isOver = false
  const over = () => {
    isOver = true
  }
  promise.then(over, over)
  while (!isOver) {
    await clock.advance(250)
    for (let n = 0; n < 5; n++) await world.admin.ping()
  }
  return promise
}

async function take(reader: Subscription, count: number): Promise<string[]> {
  const texts: string[] = []
  while (texts.length < count) {
    const { value } = await reader.next()
    texts.push(
      value === undefined ? 'the end' : value.type === 'event' ? value.data : `gap ${value.reason} ${value.missed}`,
    )
  }
  return texts
}

async function joinOnce(hub: ReturnType<typeof createHub>, stream: string): Promise<Subscription> {
  for (;;) {
    try {
      return await hub.subscribe(stream)
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

/** Publishes as soon as the store takes it; a key makes it one event, however often it was tried. */
async function publishOnce(hub: ReturnType<typeof createHub>, text: string): Promise<void> {
  for (;;) {
    try {
      await hub.publish('s', { data: text, key: text })
      return
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
