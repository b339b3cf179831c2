import { describe, expect, test, vi } from 'vitest'
import { acknowledge, sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { createHub, type Delivery, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type Fault, simulate } from '../../src/testing/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { type Reading, readWeb } from '../support/reading.js'
import { turns } from '../support/turns.js'
import { publishMany } from '../support/world.js'

/** A hub, its two handlers, and readers that say what the test wants. */
function world(options: Partial<HubOptions> = {}) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock, retryMs: [0, 0], ...options })
  const stream = sse(hub, { stream: (request) => new URL(request.url).pathname.slice(1), from: 'earliest' })
  const acks = acknowledge(hub)
  const left: Reading[] = []
  return {
    clock,
    hub,
    stream,
    acks,
    async open(name = 'news', cursor?: string) {
      const headers: Record<string, string> = cursor === undefined ? {} : { 'last-event-id': cursor }
      const reading = readWeb(await stream(new Request(`http://x/${name}`, { headers })))
      left.push(reading)
      await reading.until(({ frames }) => frames.length > 0)
      const { connection } = reading.frames.json('stream:ready') as { connection: string }
      const say = async (cursor: unknown) => (await post(acks, { connection, cursor })).status
      const see = () => hub.delivery(name).find((each) => each.connection.id === connection) as Delivery
      return { reading, connection, say, see }
    },
    async [Symbol.asyncDispose]() {
      for (const reading of left) reading.leave()
      await hub.close()
      await turns(2)
      expect(clock.pending).toBe(0)
    },
  }
}

function post(acks: (request: Request) => Promise<Response>, body: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return acks(new Request('http://x/acks', { method: 'POST', headers, body: JSON.stringify(body) }))
}

describe('hub.delivery', () => {
  test('published, written and acknowledged are three facts', async () => {
    await using at = world()
    const cursors = await publishMany(at.hub, 'news', 3)
    const { reading, see, say, connection } = await at.open()
    await reading.until(({ frames }) => frames.length === 4)
    expect(see()).toMatchObject({
      head: cursors[3],
      written: cursors[3],
      acknowledged: null,
      acknowledgedAt: null,
      unwritten: 0,
      unacknowledged: 3,
    })
    expect(see().connection).toMatchObject({ id: connection, stream: 'news' })
    await at.clock.advance(1_000)
    expect(await say(cursors[2])).toBe(204)
    expect(see()).toMatchObject({ acknowledged: cursors[2], acknowledgedAt: at.clock.now(), unacknowledged: 1 })
    expect(await say(cursors[3])).toBe(204)
    expect(see()).toMatchObject({ acknowledged: cursors[3], unacknowledged: 0 })
  })

  test('what a blocked reader was not written is counted', async () => {
    await using at = world()
    const reading = await at.stream(new Request('http://x/news'))
    for (let n = 0; n < 20; n++) await at.hub.publish('news', { data: 'x'.repeat(40_000) })
    await turns(3)
    const [{ unwritten, unacknowledged } = {} as Delivery] = at.hub.delivery('news')
    expect(unwritten).toBeGreaterThan(0)
    expect((unwritten ?? 0) + (unacknowledged ?? 0)).toBe(20)
    await reading.body?.cancel()
  })

  test('each stream has its own connections, and one that is over is gone', async () => {
    await using at = world()
    const one = await at.open('a')
    const other = await at.open('b')
    expect(at.hub.delivery('a').map((each) => each.connection.id)).toEqual([one.connection])
    expect(at.hub.delivery('c')).toEqual([])
    expect(() => at.hub.delivery('')).toThrow(TypeError)
    other.reading.leave()
    await turns(3)
    expect(at.hub.delivery('b')).toEqual([])
    expect(await other.say(null)).toBe(404)
  })

  test('what was acknowledged never moves back, and never beyond what was written', async () => {
    await using at = world()
    const cursors = await publishMany(at.hub, 'news', 4)
    const { reading, see, say } = await at.open()
    await reading.until(({ frames }) => frames.length === 5)
    const [epoch = '', , tag = ''] = cursors[4]?.split('.') ?? []
    await say(cursors[2])
    for (const cursor of [
      cursors[1],
      null,
      '',
      'nonsense',
      'x'.repeat(2_000),
      `${epoch}.5.${tag}`,
      `${epoch}.4.zz`,
      `other.3.${tag}`,
    ]) {
      expect(await say(cursor)).toBe(204)
      expect(see()).toMatchObject({ acknowledged: cursors[2], unacknowledged: 2 })
    }
  })

  test('a client that says where it stands before its first event has acknowledged, though no place here', async () => {
    await using at = world()
    const { see, say } = await at.open()
    expect(await say(null)).toBe(204)
    expect(see()).toMatchObject({ acknowledged: null, acknowledgedAt: at.clock.now(), unacknowledged: 0 })
  })

  test('a consumer that is behind its connection is seen where it is', async () => {
    await using at = world()
    const cursors = await publishMany(at.hub, 'news', 8)
    // It has received 6, finished 4, and was cut.
    const { reading, see, say } = await at.open('news', cursors[6])
    await reading.until(({ frames }) => frames.length === 3)
    expect(see()).toMatchObject({ written: cursors[8], unacknowledged: 2 })
    await say(cursors[4])
    expect(see()).toMatchObject({ acknowledged: cursors[4], unacknowledged: 4 })
  })

  test('what comes from before a gap is of no place in this log', async () => {
    await using at = world({ store: memoryStore({ maxEvents: 3 }) })
    const cursors = await publishMany(at.hub, 'news', 9)
    const { reading, see, say } = await at.open('news', cursors[2])
    await reading.until(({ frames }) => frames.length === 5)
    await say(cursors[2])
    expect(see()).toMatchObject({ acknowledged: null, unacknowledged: 3 })
    expect(see().acknowledgedAt).not.toBeNull()
    // The gap is finished: its place is the one after the hole.
    await say(cursors[6])
    expect(see()).toMatchObject({ acknowledged: cursors[6], unacknowledged: 3 })
  })

  test('the name of a connection cannot be guessed from others', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.5)
    try {
      await using at = world()
      const names = new Set<string>()
      for (let n = 0; n < 20; n++) names.add((await at.open()).connection)
      expect(names.size).toBe(20)
      for (const name of names) expect(name).toMatch(/^[0-9a-z]{16,28}$/)
    } finally {
      random.mockRestore()
    }
  })
})

describe('onUndelivered', () => {
  const told: Delivery[] = []
  const watching = (more: Partial<HubOptions> = {}) => {
    told.length = 0
    return world({ onUndelivered: (delivery) => told.push(delivery), ...more })
  }

  test('is called once when nothing is acknowledged for 30 s, and again in the next episode', async () => {
    await using at = watching()
    const { see, say, connection } = await at.open()
    await say(null)
    await at.clock.advance(100_000)
    expect(told).toEqual([])
    const [, first] = await publishMany(at.hub, 'news', 1)
    await at.clock.advance(30_000)
    expect(told).toEqual([])
    await at.clock.advance(7_500)
    expect(told).toMatchObject([{ written: first, acknowledged: null, unacknowledged: 1 }])
    expect(told[0]?.connection.id).toBe(connection)
    await at.clock.advance(600_000)
    expect(told).toHaveLength(1)
    await say(first)
    await at.clock.advance(100_000)
    expect([told.length, see().unacknowledged]).toEqual([1, 0])
    await publishMany(at.hub, 'news', 2)
    await at.clock.advance(37_500)
    expect(told.slice(1)).toMatchObject([{ acknowledged: first, unacknowledged: 2 }])
  })

  test('a client that never acknowledged is no matter for it', async () => {
    await using at = watching()
    await at.open()
    await publishMany(at.hub, 'news', 3)
    await at.clock.advance(600_000)
    expect(told).toEqual([])
  })

  test('acknowledgements that trail a busy stream by less are no matter for it', async () => {
    await using at = watching({ undeliveredMs: 10_000 })
    const { say } = await at.open()
    const cursors: string[] = []
    for (let n = 0; n < 120; n++) {
      cursors.push((await at.hub.publish('news', { data: String(n) })).cursor)
      await say(cursors.at(-9) ?? null)
      await at.clock.advance(1_000)
    }
    expect(told).toEqual([])
    // One second more, and something is always older than that.
    for (let n = 0; n < 60; n++) {
      cursors.push((await at.hub.publish('news', { data: String(n) })).cursor)
      await say(cursors.at(-14) ?? null)
      await at.clock.advance(1_000)
    }
    expect(told.length).toBeGreaterThan(0)
  })

  test('a process that slept listens first', async () => {
    await using at = watching()
    const { say } = await at.open()
    await say(null)
    const [, first] = await publishMany(at.hub, 'news', 1)
    await at.clock.advance(5_000)
    at.clock.jump(3_600_000)
    await at.clock.advance(5_000)
    expect(told).toEqual([])
    await say(first)
    await at.clock.advance(100_000)
    expect(told).toEqual([])
  })

  test('one timer serves all, while there is a client that acknowledges', async () => {
    await using at = watching()
    await publishMany(at.hub, 'news', 1)
    // The store's.
    const idle = at.clock.pending
    const crowd: Awaited<ReturnType<typeof at.open>>[] = []
    for (let n = 0; n < 50; n++) crowd.push(await at.open())
    const before = at.clock.pending
    for (const { say } of crowd) await say(null)
    expect(at.clock.pending).toBe(before + 1)
    await publishMany(at.hub, 'news', 1, 2)
    await at.clock.advance(37_500)
    expect(told).toHaveLength(50)
    for (const { reading } of crowd) reading.leave()
    await turns(3)
    expect(at.clock.pending).toBe(idle)
  })

  test('a hook that throws is reported, and stops nothing', async () => {
    const errors: unknown[] = []
    await using at = world({
      onUndelivered: () => {
        throw new Error('boom')
      },
      onError: (error) => errors.push(error),
    })
    for (let n = 0; n < 2; n++) await (await at.open()).say(null)
    await publishMany(at.hub, 'news', 1)
    await at.clock.advance(37_500)
    expect(errors).toMatchObject([{ message: 'boom' }, { message: 'boom' }])
  })

  test('without it there is no timer', async () => {
    await using at = world()
    const { say } = await at.open()
    const before = at.clock.pending
    await say(null)
    expect(at.clock.pending).toBe(before)
  })

  test('options that cannot be are refused', () => {
    const store = memoryStore()
    expect(() => createHub({ store, onUndelivered: 'x' as never })).toThrow(/Expected `onUndelivered` to be a function/)
    expect(() => createHub({ store, undeliveredMs: 0 })).toThrow(/Expected `undeliveredMs` to be a number/)
  })
})

describe('from end to end', () => {
  /** A client that acknowledges, over a path with these faults for its streams. */
  async function travel(faults: Fault[], undeliveredMs: number) {
    const told: { at: number; delivery: Delivery }[] = []
    const at = world({ undeliveredMs, onUndelivered: (delivery) => told.push({ at: at.clock.now(), delivery }) })
    const path = simulate(at.stream, { faults, clock: at.clock })
    const fetched: typeof fetch = (input, init) =>
      String(input).endsWith('/acks') ? at.acks(new Request(input, init)) : path(input, init)
    const stream = connect('http://x/news', { acks: '/acks', fetch: fetched, clock: at.clock, fallback: 'none' })
    const items: string[] = []
    const reading = (async () => {
      for await (const item of stream) items.push(item.type === 'event' ? item.data : item.reason)
    })()
    await at.clock.advance(2_500)
    return {
      ...at,
      items,
      told,
      see: () => at.hub.delivery('news')[0] as Delivery,
      async [Symbol.asyncDispose]() {
        stream.close()
        await reading
        await at[Symbol.asyncDispose]()
      },
    }
  }

  test('what a consumer has finished arrives', async () => {
    await using at = await travel([], 5_000)
    expect(at.see()).toMatchObject({ acknowledgedAt: expect.any(Number), unacknowledged: 0 })
    const cursors = await publishMany(at.hub, 'news', 5)
    await at.clock.advance(2_000)
    expect(at.see()).toMatchObject({ written: cursors[5], acknowledged: cursors[5], unacknowledged: 0 })
    await at.clock.advance(100_000)
    expect(at.told).toEqual([])
  })

  test('an event that a proxy holds is written and not acknowledged, and the hub says so, once', async () => {
    // The opening leaves when the first event pushes it; from then on the last one is held.
    await using at = await travel([{ kind: 'holdLast' }], 5_000)
    await publishMany(at.hub, 'news', 1)
    await at.clock.advance(2_000)
    const [, , second] = await publishMany(at.hub, 'news', 1, 2)
    await at.clock.advance(2_000)
    expect(at.items).toEqual(['1'])
    const published = at.clock.now() - 2_000
    expect(at.see()).toMatchObject({ written: second, unacknowledged: 1, unwritten: 0 })
    await at.clock.advance(6_000)
    expect(at.told).toMatchObject([{ delivery: { written: second, unacknowledged: 1 } }])
    const after = (at.told[0]?.at ?? 0) - published
    expect(after).toBeGreaterThanOrEqual(5_000)
    expect(after).toBeLessThanOrEqual(8_000)
    // A heartbeat pushes it out.
    await at.clock.advance(20_000)
    expect(at.items).toEqual(['1', '2'])
    expect(at.see()).toMatchObject({ acknowledged: second, unacknowledged: 0 })
    expect(at.told).toHaveLength(1)
  })

  test('behind a proxy that holds everything, nothing was ever acknowledged', async () => {
    await using at = await travel([{ kind: 'buffering', bytes: 1_000_000 }], 5_000)
    const cursors = await publishMany(at.hub, 'news', 3)
    await at.clock.advance(5_000)
    expect(at.items).toEqual([])
    expect(at.see()).toMatchObject({
      written: cursors[3],
      acknowledged: null,
      acknowledgedAt: null,
      unacknowledged: 3,
    })
  })
})
