import { afterEach, describe, expect, test, vi } from 'vitest'
import { createOutbox, type OutboxOptions, type OutboxStorage, webStorage } from '../../src/client/outbox.js'
import { virtualClock } from '../../src/testing/index.js'
import { Area } from '../support/area.js'
import { Locks } from '../support/locks.js'
import { type Answer, accepts, endOf, hangs, isAccounted, scene } from './outboxes.js'
import { scripted, settle } from './scripted.js'

afterEach(() => vi.unstubAllGlobals())

const stored = (area: Area, answer: Answer = accepts, options: OutboxOptions = {}) =>
  scene(answer, { storage: webStorage(area), ...options })

test('a message is stored before its first attempt, and removed after its receipt', async () => {
  const area = new Area()
  const seen: number[] = []
  const { outbox } = stored(area, (request) => {
    seen.push(area.length)
    return accepts(request)
  })
  await outbox.send('x')
  await settle()
  expect([seen, area.length, area.log]).toEqual([[1], 0, ['set', 'remove']])
  await outbox.close()
})

test('a reload goes on in order, with the same keys, and what is new waits behind', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  for (const text of ['a1', 'a2', 'a3']) before.outbox.send(text, { lane: 'a' }).catch(() => {})
  before.outbox.send({ b: 1 }, { lane: 'b', key: 'b-key' }).catch(() => {})
  before.outbox.send('stale', { retry: false }).catch(() => {})
  await settle()
  await before.outbox.close()
  expect(area.length).toBe(4)

  const after = stored(area, accepts, { clock: before.clock })
  const fresh = after.outbox.send('a4', { lane: 'a' })
  expect(after.outbox.state).toBe('waiting')
  await fresh
  await after.outbox.idle()
  expect(after.bodies.filter((body) => body.startsWith('a'))).toEqual(['a1', 'a2', 'a3', 'a4'])
  const b = after.requests.find(({ init }) => init.body === '{"b":1}')
  expect([b?.headers.get('idempotency-key'), b?.headers.get('content-type')]).toEqual(['b-key', 'application/json'])
  const keyOf = (of: typeof before, body: string) =>
    of.requests.find(({ init }) => init.body === body)?.headers.get('idempotency-key')
  expect(keyOf(after, 'a1')).toBe(keyOf(before, 'a1'))
  expect(after.outbox.counters).toMatchObject({ enqueued: 5, accepted: 5 })
  await settle()
  expect(area.length).toBe(0)
  await after.outbox.close()
})

test('the order holds over several reloads, though the clock was set back meanwhile', async () => {
  const area = new Area()
  for (const [index, text] of ['first', 'second', 'third'].entries()) {
    const clock = virtualClock()
    clock.jump(-index * 60_000)
    const { outbox } = stored(area, hangs, { clock })
    outbox.send(text).catch(() => {})
    await settle()
    await outbox.close()
  }
  const last = stored(area)
  await last.outbox.idle()
  expect(last.bodies).toEqual(['first', 'second', 'third'])
  await last.outbox.close()
})

test('a message that survived a reload may have arrived, and its age counts from the first send', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  before.outbox.send('old').catch(() => {})
  await settle()
  await before.outbox.close()
  await before.clock.advance(400_000)
  const after = stored(area, hangs, { clock: before.clock })
  await settle()
  expect(after.outbox.items()).toMatchObject([{ body: 'old', restored: true }])
  await before.clock.advance(200_000)
  expect(after.outbox.counters).toMatchObject({ enqueued: 1, uncertain: 1, pending: 0 })
  expect(after.changes.findLast(({ item }) => item)?.item?.error?.code).toBe('UNCERTAIN')
  await settle()
  expect(area.length).toBe(0)
  await after.outbox.close()
  expect(before.clock.pending).toBe(0)
})

test('what is too old when it is found is not sent any more', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  before.outbox.send('old').catch(() => {})
  await settle()
  await before.outbox.close()
  await before.clock.advance(600_000)
  const after = stored(area, accepts, { clock: before.clock })
  await after.outbox.idle()
  expect([after.bodies, after.outbox.counters.uncertain]).toEqual([[], 1])
  await after.outbox.close()
})

test('the bounds hold on reload: what does not fit stays stored, and comes as room appears', async () => {
  const area = new Area()
  const clock = virtualClock()
  const before = stored(area, hangs, { clock })
  for (let n = 0; n < 20; n++) before.outbox.send(`m${n}`, { lane: `l${n % 3}` }).catch(() => {})
  await settle()
  await before.outbox.close()

  const sizes: number[] = []
  const slowly: Answer = async (request) => {
    await settle()
    return accepts(request)
  }
  const after = stored(area, slowly, { clock, maxItems: 4, onState: ({ size }) => sizes.push(size) })
  const early = [1, 2, 3, 4].map((n) => endOf(after.outbox.send(`early ${n}`)))
  let refused: unknown
  const watch = after.outbox.onState(() => {
    // Older messages wait for the room that there may be.
    try {
      after.outbox.send('new').catch(() => {})
    } catch (error) {
      refused ??= error
    }
    watch()
  })
  await after.outbox.idle()
  expect(Math.max(...sizes)).toBe(4)
  expect(after.bodies.filter((body) => body.startsWith('m'))).toHaveLength(20)
  expect(early.map(({ end }) => end)).toEqual(['OUTBOX_FULL', 'OUTBOX_FULL', 'OUTBOX_FULL', 'OUTBOX_FULL'])
  expect(refused).toMatchObject({ code: 'OUTBOX_FULL' })
  expect(isAccounted(after.outbox)).toBe(true)
  await after.outbox.close()
})

test('closed by those who hear of what gave way to a stored message, an outbox takes none in', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  before.outbox.send('older').catch(() => {})
  await settle()
  await before.outbox.close()
  const { outbox, clock } = stored(area, accepts, { clock: before.clock, maxItems: 1 })
  outbox.onState(({ item }) => {
    if (item?.error?.code === 'OUTBOX_FULL') void outbox.close()
  })
  const early = endOf(outbox.send('newer'))
  await settle()
  expect([early.end, outbox.size, outbox.counters.enqueued, area.length]).toEqual(['OUTBOX_FULL', 0, 1, 1])
  expect(clock.pending).toBe(0)
})

test('what was rejected, or given up for good, is not stored any more', async () => {
  const area = new Area()
  const { outbox, clock } = stored(area, () => new Response(null, { status: 400 }))
  await expect(outbox.send('x')).rejects.toMatchObject({ code: 'REJECTED' })
  outbox.pause()
  const late = endOf(outbox.send('y'))
  await clock.advance(600_000)
  expect([late.end, area.length]).toEqual(['EXPIRED', 0])
  await outbox.close()
})

test('an outbox of another address does not send them', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  before.outbox.send('x').catch(() => {})
  await settle()
  await before.outbox.close()
  const other = createOutbox('http://test/other', { storage: webStorage(area), fetch: () => Promise.reject() })
  await other.idle()
  expect([other.counters.enqueued, area.length]).toEqual([0, 1])
  await other.close()
})

test.each([
  ['http://test/send?room=1', 'http://test/send?room=2', false],
  ['http://test/send?room=1#here', 'http://test/send?room=1', true],
  ['messages', 'messages', false],
  ['/messages', '/messages', true],
])('what was for %s on one page is taken up for %s on another: %s', async (first, second, isSame) => {
  const area = new Area()
  const clock = virtualClock()
  const open = (url: string, page: string, answer: Answer) => {
    vi.stubGlobal('location', { href: page })
    const { fetch, requests } = scripted(answer)
    return { requests, outbox: createOutbox(url, { clock, fetch, storage: webStorage(area) }) }
  }
  const before = open(first, 'http://test/a/', hangs)
  before.outbox.send('x').catch(() => {})
  await settle()
  await before.outbox.close()
  const after = open(second, 'http://test/b/', accepts)
  await settle()
  expect(after.requests.length).toBe(isSame ? 1 : 0)
  await after.outbox.close()
})

test.each([
  ['key', { key: 'two\nlines' }],
  ['lane', { lane: '' }],
  ['lane', { lane: 'x'.repeat(2_000) }],
])('a stored message with a `%s` that the door would refuse is reported, and blocks nothing', async (_, wrong) => {
  const area = new Area()
  const good = { key: 'k', lane: 'default', type: 'application/json', body: '1', enqueuedAt: 0 }
  area.map.set('steady-sse/outbox/http://test/messages x 1', JSON.stringify({ ...good, ...wrong }))
  const errors: unknown[] = []
  const { outbox, bodies } = stored(area, accepts, { onError: (error) => errors.push(error) })
  await outbox.send('behind')
  expect([bodies, errors.length, outbox.counters.enqueued]).toEqual([['behind'], 1, 1])
  await outbox.close()
})

test('what is no message is reported, and left where it is', async () => {
  const area = new Area()
  const before = stored(area, hangs)
  before.outbox.send('x').catch(() => {})
  await settle()
  await before.outbox.close()
  for (const key of area.map.keys()) area.map.set(key, '{"torn')
  const errors: unknown[] = []
  const after = stored(area, accepts, { onError: (error) => errors.push(error) })
  await after.outbox.send('y')
  await settle()
  expect([errors.length, area.length]).toEqual([1, 1])
  await after.outbox.close()
})

const failing: Record<keyof OutboxStorage, () => Promise<never>> = {
  names: () => Promise.reject(new Error('names')),
  read: () => Promise.reject(new Error('read')),
  write: () => Promise.reject(new Error('write')),
  remove: () => Promise.reject(new Error('remove')),
}
const never = () => new Promise<never>(() => {})

test.each([
  ['fails', failing],
  [
    'throws',
    {
      ...failing,
      write: () => {
        throw new Error('write')
      },
    },
  ],
  ['lists what are no names', { ...failing, names: async () => [1] as never }],
  ['hangs', { names: never, read: never, write: never, remove: never }],
  ['hangs on writing', { names: async () => [], read: never, write: never, remove: never }],
  ['hangs on reading', { names: async () => ['http://test/messages x 1'], read: never, write: never, remove: never }],
])('a storage that %s loses no message and holds none up for long', async (_, storage) => {
  const errors: unknown[] = []
  const { outbox, clock, bodies } = scene(accepts, { storage, onError: (error) => errors.push(error) })
  const ends = ['a', 'b'].map((text) => endOf(outbox.send(text)))
  await clock.advance(30_000)
  expect(ends.map(({ end }) => end)).toEqual(['accepted', 'accepted'])
  expect(bodies).toEqual(['a', 'b'])
  expect(errors.length).toBeGreaterThan(0)
  const closing = outbox.close()
  await clock.advance(10_000)
  await closing
  expect(clock.pending).toBe(0)
})

test.each(['names', 'read', 'remove'] as const)(
  'a storage whose `%s` fails once is asked again: nothing is overtaken, nothing stays',
  async (method) => {
    const area = new Area()
    const before = stored(area, hangs)
    before.outbox.send('older').catch(() => {})
    await settle()
    await before.outbox.close()
    const storage = webStorage(area)
    let fails = true
    const once: OutboxStorage = {
      ...storage,
      [method]: (name: string) => {
        if (!fails) return storage[method](name)
        fails = false
        return Promise.reject(new Error('once'))
      },
    }
    const { outbox, bodies } = scene(accepts, { storage: once, clock: before.clock })
    await outbox.send('newer')
    await settle()
    expect([bodies, fails, area.length]).toEqual([['older', 'newer'], false, 0])
    await outbox.close()
  },
)

describe('a storage that was slow, and answers after all,', () => {
  const slow = (method: 'write' | 'remove', area: Area, answer: Answer) => {
    const clock = virtualClock()
    const storage = webStorage(area)
    let isSlow = true
    const wait = async () => {
      if (!isSlow) return
      isSlow = false
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 20_000))
    }
    const write = async (name: string, text: string) => {
      if (method === 'write') await wait()
      await storage.write(name, text)
    }
    const remove = async (name: string) => {
      if (method === 'remove') await wait()
      await storage.remove(name)
    }
    return scene(answer, { clock, storage: { ...storage, write, remove }, maxAttempts: 1 })
  }

  test.each(['write', 'remove'] as const)('keeps nothing that is over (%s)', async (method) => {
    const area = new Area()
    const { outbox, clock } = slow(method, area, ({ init }) => {
      return new Response(null, { status: init.body === 'over' ? 503 : 200 })
    })
    const ends = ['over', 'accepted'].map((text) => endOf(outbox.send(text)))
    await clock.advance(15_000)
    ends.push(endOf(outbox.send('meanwhile')))
    await clock.advance(15_000)
    expect(ends.map(({ end }) => end)).toEqual(['RETRIES_EXHAUSTED', 'accepted', 'accepted'])
    expect(area.length).toBe(0)
    await outbox.close()
    expect(clock.pending).toBe(0)
  })

  test('keeps what was sent meanwhile', async () => {
    const area = new Area()
    const { outbox, clock } = slow('write', area, hangs)
    for (const text of ['a', 'b']) outbox.send(text).catch(() => {})
    await clock.advance(10_000)
    for (const text of ['c', 'd']) outbox.send(text).catch(() => {})
    await clock.advance(15_000)
    await outbox.close()
    const after = stored(area, accepts, { clock })
    await after.outbox.idle()
    expect(after.bodies.toSorted()).toEqual(['a', 'b', 'c', 'd'])
    await after.outbox.close()
  })
})

describe('with Web Locks', () => {
  test('two tabs do not send the same message; one that lives takes over from one that dies', async () => {
    const locks = new Locks()
    vi.stubGlobal('navigator', { locks })
    const area = new Area()
    const one = stored(area, hangs)
    one.outbox.send('from one').catch(() => {})
    await settle()
    const two = stored(area, accepts, { clock: one.clock })
    await two.outbox.send('from two')
    await settle()
    expect(two.bodies).toEqual(['from two'])
    // As when a tab is closed: its messages stay in the storage, and its lock is free.
    await one.outbox.close()
    await two.clock.advance(0)
    await two.outbox.idle()
    await settle()
    expect(two.bodies).toEqual(['from two', 'from one'])
    expect(area.length).toBe(0)
    await two.outbox.close()
    await settle()
    expect(locks.held).toBe(0)
  })

  test('an outbox that is closed while it looks through the storage leaves nothing behind', async () => {
    const locks = new Locks()
    vi.stubGlobal('navigator', { locks })
    const { outbox, clock } = stored(new Area())
    const sent = endOf(outbox.send('x'))
    await outbox.close()
    await settle()
    expect([sent.end, clock.pending, locks.held]).toEqual(['CLOSED', 0, 0])
  })
})

describe('when the page goes away', () => {
  const page = () => {
    const scope = new EventTarget()
    const listeners = { count: 0 }
    vi.stubGlobal('addEventListener', (name: string, run: () => void) => {
      listeners.count++
      scope.addEventListener(name, run)
    })
    vi.stubGlobal('removeEventListener', (name: string, run: () => void) => {
      listeners.count--
      scope.removeEventListener(name, run)
    })
    return { leave: () => scope.dispatchEvent(new Event('pagehide')), listeners }
  }

  test('the heads of the lanes that fit are sent with `keepalive`, and the rest stays stored', async () => {
    const { leave, listeners } = page()
    const area = new Area()
    const { outbox, requests } = stored(area, hangs)
    outbox.send('a1', { lane: 'a', key: 'a1' }).catch(() => {})
    outbox.send('a2', { lane: 'a' }).catch(() => {})
    outbox.send('x'.repeat(62_000), { lane: 'big' }).catch(() => {})
    for (let n = 0; n < 12; n++) outbox.send('small', { lane: `l${n}` }).catch(() => {})
    await settle()
    const before = requests.length
    leave()
    await settle()
    const last = requests.slice(before)
    expect(last.map(({ init }) => init.body)).toEqual(['a1', ...Array(7).fill('small')])
    expect(last.every(({ init }) => init.keepalive)).toBe(true)
    expect(last[0]?.headers.get('idempotency-key')).toBe('a1')
    expect(area.length).toBe(15)
    await outbox.close()
    expect(listeners.count).toBe(0)
  })

  test('what was sent a moment ago is stored and sent before the locks and the messages there were looked at', async () => {
    const { leave } = page()
    const area = new Area()
    const asked: string[] = []
    vi.stubGlobal('navigator', {
      locks: {
        request: (name: string) => {
          asked.push(name)
          return new Promise(() => {})
        },
      },
    })
    const { outbox, bodies } = stored(area, hangs)
    for (const text of ['a1', 'a2']) outbox.send(text, { lane: 'a' }).catch(() => {})
    outbox.send('b1', { lane: 'b' }).catch(() => {})
    await settle()
    expect([asked.length, area.length, bodies]).toEqual([1, 3, []])
    leave()
    await settle()
    expect(bodies).toEqual(['a1', 'b1'])
    await outbox.close()
  })

  test('before the storage was looked at, what is first is sent; after it, only what nothing may be before', async () => {
    const { leave } = page()
    const area = new Area()
    const before = stored(area, hangs)
    before.outbox.send('older', { lane: 'a' }).catch(() => {})
    await settle()
    await before.outbox.close()
    const storage = webStorage(area)
    const hangsOn = (method: keyof OutboxStorage) =>
      scene(hangs, { clock: before.clock, storage: { ...storage, [method]: () => new Promise(() => {}) } })
    const unlooked = hangsOn('names')
    const unread = hangsOn('read')
    for (const { outbox } of [unlooked, unread]) outbox.send('newer', { lane: 'a' }).catch(() => {})
    await settle()
    leave()
    await settle()
    expect([unlooked.bodies, unread.bodies]).toEqual([['newer'], []])
    expect(area.length).toBe(2)
    await Promise.all([unlooked.outbox.close(), unread.outbox.close()])
  })

  test('what is held back is not sent then, either', async () => {
    const { leave } = page()
    const waiting = scene(() => new Response(null, { status: 503, headers: { 'retry-after': '60' } }))
    waiting.outbox.send('x').catch(() => {})
    const paused = scene()
    paused.outbox.pause()
    paused.outbox.send('x').catch(() => {})
    await settle()
    leave()
    await settle()
    expect([waiting.requests.length, paused.requests.length]).toEqual([1, 0])
    await Promise.all([waiting.outbox.close(), paused.outbox.close()])
  })

  test('a page that comes back after all takes the answer', async () => {
    const { leave } = page()
    const { outbox, requests } = scene((request) => (request.init.keepalive ? accepts(request) : hangs(request)))
    const sent = endOf(outbox.send('x'))
    await settle()
    leave()
    await settle()
    expect([sent.end, requests.length]).toEqual(['accepted', 2])
    await outbox.close()
  })
})

test('webStorage wants an area of storage', () => {
  expect(() => webStorage({} as never)).toThrow(/localStorage/)
  expect(() => webStorage(new Area(), { name: '' })).toThrow(/`name`/)
})
