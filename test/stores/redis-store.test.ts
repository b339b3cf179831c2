import { createClient } from '@redis/client'
import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { createHub } from '../../src/server/create-hub.js'
import { redisStore } from '../../src/stores/redis.js'
import { redisAnswers, redisUrl } from '../testing/sources.js'
import { ioredis, type MakeClient, nodeRedis, RedisWorld } from './redis-world.js'

const hasRedis = await redisAnswers()
/** Longer than it takes on a busy machine. */
const SOON = { timeout: 10_000 }
const why = hasRedis ? '' : ` (no Redis at ${redisUrl}; set STEADY_REDIS_URL)`

test('the options are checked, and a client is told by its shape', () => {
  const client = createClient()
  const wrong: [string, object][] = [
    ['client', { client: undefined }],
    ['client', { client: { on: () => client, duplicate: () => client } }],
    ['prefix', { prefix: '' }],
    ['prefix', { prefix: 'a{b}' }],
    ['maxEvents', { maxEvents: 0 }],
    ['maxAgeMs', { maxAgeMs: 0.5 }],
    ['idleTtlMs', { idleTtlMs: -1 }],
    ['receiptTtlMs', { receiptTtlMs: 0 }],
  ]
  for (const [name, options] of wrong) {
    expect(() => redisStore({ client, prefix: 'p', ...options }), name).toThrow(TypeError)
    expect(() => redisStore({ client, prefix: 'p', ...options }), name).toThrow(`\`${name}\``)
  }
  const prefixed = new Redis({ lazyConnect: true, keyPrefix: 'mine:' })
  expect(() => redisStore({ client: prefixed, prefix: 'p' })).toThrow('`keyPrefix`')
})

const clients: [string, MakeClient][] = [
  ['@redis/client', nodeRedis],
  ['ioredis', ioredis],
]
const event = (data: string, key?: string) => ({ event: undefined, data, key })

describe.skipIf(!hasRedis).each(clients)(`redisStore with %s${why}`, (_, make) => {
  test('a batch that a client sends twice is stored once, and answered as it was', async () => {
    await using world = await RedisWorld.begin(make)
    const store = redisStore({ client: sendingTwice(await world.client()), prefix: world.prefix })
    const other = await world.store()
    for (let n = 0; n < 10; n++) {
      const places = await store.append('s', [event('a', 'key'), event('b'), event('c', `key ${n}`), event('b', 'key')])
      const { head } = await store.open('s')
      expect(places.map(({ duplicate }) => duplicate)).toEqual([n > 0, false, false, true])
      expect(places[2]).toMatchObject({ offset: head })
      const page = await store.read('s', head - 1, { limit: 1 })
      expect([page?.tag, page?.events[0]?.tag]).toEqual([places[1]?.tag, places[2]?.tag])
      await other.append('s', [event('between')])
    }
    expect((await store.open('s')).head).toBe(1 + 10 * 3)
    await store.seal('s')
    await expect(store.append('s', [event('late')])).rejects.toMatchObject({ code: 'SEALED' })
  })

  test('a batch that arrives after a later one of its process is not stored', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store()
    const [place] = await store.append('s', [event('1')])
    const record = `${world.prefix}:{s}:meta`
    const writer = Object.keys(await world.admin.hGetAll(record)).find((field) => field.startsWith('w:')) ?? ''
    await world.admin.hSet(record, writer, '1000 0 0')
    await expect(store.append('s', [event('2')])).rejects.toThrow('after a later one')
    expect((await store.open('s')).head).toBe(place?.offset)
  })

  test('the record of a stream stays small, however many processes have written', async () => {
    await using world = await RedisWorld.begin(make)
    const client = await world.client()
    for (let n = 1; n <= 200; n++) {
      const [place] = await redisStore({ client, prefix: world.prefix }).append('s', [event(String(n))])
      expect(place?.offset).toBe(n)
    }
    expect(await world.admin.hLen(`${world.prefix}:{s}:meta`)).toBeLessThanOrEqual(42)
  })

  test('appends of one turn go as one, in order, each with its own answer', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store()
    const texts = Array.from({ length: 1_500 }, (_, n) => String(n + 1))
    const places = await Promise.all(texts.map((text) => store.append('s', [event(text)])))
    expect(places.map(([place]) => place?.offset)).toEqual(texts.map(Number))
    expect((await store.read('s', 0, { limit: 1_500 }))?.events.map(({ data }) => data)).toEqual(texts)
    const { used } = await callsOf(world)
    expect(used).toBeLessThan(10)
  })

  test('names that would end the braces, or that UTF-8 cannot tell apart, are streams of their own', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store()
    const names = ['}', '{}', '}a', '%7D', '%7d;', '%', 'a{b}c', ' ', '\ud800', '\udfff', '%d800;', 'ä漢😀', '\0']
    for (const name of names) {
      expect(await store.read(name, 0, { limit: 1 }), name).toBeNull()
      await store.append(name, [event(name)])
    }
    expect(await world.keys()).toHaveLength(2 * names.length)
    for (const key of await world.keys()) expect(key).toMatch(/^[^{}]*\{[^}]+\}:(meta|log)$/)
  })

  test('everything expires: what is too old, what nobody uses, what is sealed, and receipts', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store({ maxAgeMs: 60_000, idleTtlMs: 100_000, receiptTtlMs: 50_000 })
    store.attach?.({ clock: { now: () => 0, setTimeout: () => () => {} }, maxStreams: 1, sealedTtlMs: 30_000 })
    const base = `${world.prefix}:{s}`
    const left = (name: string) => world.admin.pTTL(name)
    await store.append('s', [event('1', 'key')])
    for (const name of ['log', 'keys']) expect(await left(`${base}:${name}`)).toSatisfy(within(55_000, 61_000))
    expect(await left(`${base}:meta`)).toSatisfy(within(95_000, 100_000))
    await world.admin.pExpire(`${base}:meta`, 20_000)
    await store.read('s', 0, { limit: 1 })
    expect(await left(`${base}:meta`)).toSatisfy(within(95_000, 100_000))
    await store.seal('s')
    for (const name of ['meta', 'log', 'keys']) expect(await left(`${base}:${name}`)).toSatisfy(within(25_000, 30_000))
    await store.read('s', 0, { limit: 1 })
    expect(await left(`${base}:meta`)).toBeLessThanOrEqual(30_000)
    const claim = await store.receipts.claim('', 'k', 'print', 1_000)
    if (claim.state !== 'claimed') throw new Error(claim.state)
    await store.receipts.complete(claim.lease, null)
    expect(await left(`${world.prefix}:receipt:["","k"]`)).toSatisfy(within(45_000, 50_000))
  })

  test('events go by their age, the older ones first, and keys with them', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store({ maxAgeMs: 1_000_000 })
    const begin: number[] = []
    for (const [round, age] of [500_000, 520_000, 300_000, 300_000].entries()) {
      const texts = Array.from({ length: 20 }, (_, n) => event('x', `${round}.${n}`))
      await store.append('s', texts)
      await world.age(age)
      const page = await store.read('s', 0, { limit: 100 })
      begin.push(page?.first ?? 0)
      expect(page?.events.map(({ offset }) => offset)).toEqual(
        Array.from({ length: 20 * (round + 1) - (page?.first ?? 0) + 1 }, (_, n) => (page?.first ?? 0) + n),
      )
      const before = (await store.read('s', (page?.first ?? 0) - 1, { limit: 0 }))?.tag
      expect(before).toBe(page?.firstTag)
    }
    // At 1,020,000 ms they are within the sixteenth that is granted.
    expect(begin).toEqual([1, 1, 21, 41])
    expect(await store.append('s', [event('x', '1.19'), event('x', '2.0')])).toMatchObject([
      { duplicate: false, offset: 81 },
      { duplicate: true, offset: 41 },
    ])
  })

  test('keys are forgotten with their events, in memory too', async () => {
    await using world = await RedisWorld.begin(make)
    const store = await world.store({ maxEvents: 10 })
    for (let n = 1; n <= 100; n++) await store.append('s', [event('x', `key ${n}`)])
    expect(await world.admin.zCard(`${world.prefix}:{s}:keys`)).toBeLessThanOrEqual(12)
    expect((await store.append('s', [event('x', 'key 100')]))[0]).toMatchObject({ duplicate: true, offset: 100 })
    expect((await store.append('s', [event('x', 'key 1')]))[0]).toMatchObject({ duplicate: false, offset: 101 })
  })

  test('the connection for subscriptions is there while somebody watches, and goes with the hub', async () => {
    await using world = await RedisWorld.begin(make)
    const client = await world.client()
    let duplicates = 0
    const duplicate = client.duplicate.bind(client)
    Object.assign(client, { duplicate: (...args: never[]) => [duplicate(...args), duplicates++][0] })
    const store = redisStore({ client, prefix: world.prefix })
    const hub = createHub({ store })
    await hub.publish('a', { data: '1' })
    expect(duplicates).toBe(0)
    await Promise.all(['a', 'b', 'c'].map((stream) => hub.subscribe(stream)))
    expect(duplicates).toBe(1)
    const channels = () => world.admin.pubSubChannels(`${world.prefix}:*`)
    expect(await channels()).toHaveLength(3)
    await hub.close()
    await expect.poll(channels, SOON).toEqual([])
    const unwatch = await store.watch('a', () => {})
    expect(duplicates).toBe(2)
    unwatch()
    unwatch()
    await expect.poll(channels, SOON).toEqual([])
    await store.close?.()
  })

  test('a transaction is refused, not ignored', async () => {
    await using world = await RedisWorld.begin(make)
    await using hub = createHub({ store: await world.store() })
    await expect(hub.publish('s', { data: '1' }, { transaction: {} })).rejects.toThrow(TypeError)
  })
})

/** How many scripts the server was asked to run, under the prefix of a world. */
async function callsOf(world: RedisWorld): Promise<{ used: number }> {
  const record = await world.admin.hGetAll(`${world.prefix}:{s}:meta`)
  const [batch = '0'] = Object.entries(record).find(([field]) => field.startsWith('w:')) ?? []
  return { used: Number(record[batch]?.split(' ')[0]) }
}

/** As a client does that lost the connection before the answer came. */
function sendingTwice<T extends object>(client: T): T {
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const call = () => Reflect.apply(value, target, args)
        const command = name === 'sendCommand' ? (args[0] as string[])[0] : name === 'call' ? args[0] : ''
        return command === 'EVALSHA' ? Promise.resolve(call()).then(call) : call()
      }
    },
  })
}

function within(least: number, most: number): (value: unknown) => boolean {
  return (value) => typeof value === 'number' && value >= least && value <= most
}
