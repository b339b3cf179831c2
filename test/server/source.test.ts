import { describe, expect, test, vi } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import type { PublishEvent } from '../../src/protocol/event.js'
import type { Source } from '../../src/protocol/source.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

type To = Parameters<Source['join']>[1]

/** A bus that counts who is subscribed, and whose joins are confirmed by hand. */
class Bus implements Source {
  readonly subscribed = new Map<string, To>()
  readonly joins: { stream: string; confirm: () => void; fail: (error: Error) => void; signal: AbortSignal }[] = []
  leaves = 0
  confirmAtOnce = true

  join(stream: string, to: To, signal: AbortSignal): Promise<() => void> {
    this.subscribed.set(stream, to)
    return new Promise((resolve, reject) => {
      const confirm = () =>
        resolve(() => {
          this.leaves++
          this.subscribed.delete(stream)
        })
      this.joins.push({ stream, confirm, fail: reject, signal })
      if (this.confirmAtOnce) confirm()
    })
  }

  emit(stream: string, event: PublishEvent): Promise<void> | undefined {
    return this.subscribed.get(stream)?.event(event)
  }
}

const hop = () => new Promise((resolve) => setImmediate(resolve))

function texts(items: readonly { type: string }[]): string[] {
  return items.map((item) =>
    'data' in item ? String(item.data) : 'reason' in item ? `gap ${String(item.reason)}` : '?',
  )
}

describe('a hub with a source', () => {
  test('does not answer one byte until the source has joined, and misses nothing published right after', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    bus.confirmAtOnce = false
    await using hub = createHub({ store: memoryStore(), source: bus, clock })
    let answered = false
    const response = sse(hub, { stream: () => 's' })(new Request('http://x/')).then((value) => {
      answered = true
      return value
    })
    await clock.advance(3_000)
    expect(answered).toBe(false)
    bus.joins[0]?.confirm()
    await bus.emit('s', { data: 'right after' })
    const reader = (await response).body?.getReader()
    let text = ''
    while (!text.includes('right after')) text += new TextDecoder().decode((await reader?.read())?.value)
    expect(text).toContain('"resumed":"new"')
    await reader?.cancel()
  })

  test('answers 503 in time when the source never joins, aborts the join, and leaves once when it joins late', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    bus.confirmAtOnce = false
    await using hub = createHub({ store: memoryStore(), source: bus, clock, joinTimeoutMs: 2_000 })
    const pending = sse(hub, { stream: () => 's' })(new Request('http://x/'))
    await clock.advance(2_000)
    const response = await pending
    expect(response.status).toBe(503)
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(bus.joins[0]?.signal.aborted).toBe(true)
    expect(hub.stats().streams).toBe(0)
    bus.joins[0]?.confirm()
    await hop()
    expect(bus.leaves).toBe(1)
    expect(bus.subscribed.size).toBe(0)
  })

  test('cancels the join when the only client leaves during it', async () => {
    const bus = new Bus()
    bus.confirmAtOnce = false
    await using hub = createHub({ store: memoryStore(), source: bus })
    const leaving = new AbortController()
    const pending = sse(hub, { stream: () => 's' })(new Request('http://x/', { signal: leaving.signal }))
    await hop()
    leaving.abort()
    await pending
    expect(bus.joins[0]?.signal.aborted).toBe(true)
    bus.joins[0]?.confirm()
    await hop()
    expect(bus.leaves).toBe(1)
  })

  test('keeps the join alive for the others when one client leaves during it', async () => {
    const bus = new Bus()
    bus.confirmAtOnce = false
    await using hub = createHub({ store: memoryStore(), source: bus })
    const leaving = new AbortController()
    const gone = hub.subscribe('s', { signal: leaving.signal }).catch(() => 'gone')
    const staying = hub.subscribe('s')
    await hop()
    leaving.abort()
    expect(await gone).toBe('gone')
    bus.joins[0]?.confirm()
    const subscription = await staying
    expect(bus.joins).toHaveLength(1)
    await bus.emit('s', { data: 'for those who stayed' })
    expect((await subscription.next()).value).toMatchObject({ data: 'for those who stayed' })
  })

  test('answers 503 when the source fails, and joins anew for the next client', async () => {
    const bus = new Bus()
    bus.confirmAtOnce = false
    await using hub = createHub({ store: memoryStore(), source: bus })
    const first = sse(hub, { stream: () => 's' })(new Request('http://x/'))
    await hop()
    bus.joins[0]?.fail(new Error('the broker is away'))
    expect((await first).status).toBe(503)
    bus.confirmAtOnce = true
    const subscription = await hub.subscribe('s')
    await bus.emit('s', { data: 'back' })
    expect((await subscription.next()).value).toMatchObject({ data: 'back' })
  })

  test('answers 503 when the source throws', async () => {
    const source: Source = {
      join() {
        throw new Error('broken')
      },
    }
    await using hub = createHub({ store: memoryStore(), source })
    expect((await sse(hub, { stream: () => 's' })(new Request('http://x/'))).status).toBe(503)
    expect(hub.stats().streams).toBe(0)
  })

  test('leaves once, idleMs after the last reader has gone, and not while readers come and go', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    const hub = createHub({ store: memoryStore(), source: bus, clock, idleMs: 60_000 })
    for (let i = 0; i < 5; i++) {
      const subscription = await hub.subscribe('s')
      subscription.close()
      await clock.advance(59_000)
    }
    expect(bus.joins).toHaveLength(1)
    expect(bus.leaves).toBe(0)
    expect(hub.stats().streams).toBe(0)
    await clock.advance(1_000)
    expect(bus.leaves).toBe(1)
    await hub.close()
    expect(bus.leaves).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('a join after a leave puts a gap into a log that had events, for all who return', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    await using hub = createHub({ store: memoryStore(), source: bus, clock, idleMs: 1_000 })
    const before = await hub.subscribe('s')
    await bus.emit('s', { data: 'one' })
    const { value } = await before.next()
    before.close()
    await clock.advance(1_000)
    expect(bus.leaves).toBe(1)
    const after = await hub.subscribe('s', { cursor: value?.id })
    await bus.emit('s', { data: 'three' })
    expect(texts([(await after.next()).value ?? { type: '' }, (await after.next()).value ?? { type: '' }])).toEqual([
      'gap source',
      'three',
    ])
    const late = await hub.read('s')
    expect(texts(late.items)).toEqual(['one', 'gap source', 'three'])
  })

  test('lost() becomes a gap in the order in which it was said, with the number where it is known', async () => {
    const bus = new Bus()
    await using hub = createHub({ store: memoryStore(), source: bus })
    const subscription = await hub.subscribe('s')
    const to = bus.subscribed.get('s')
    void to?.event({ data: 'a' })
    to?.lost(3)
    void to?.event({ data: 'b' })
    to?.lost()
    await to?.event({ data: 'c' })
    const { items } = await hub.read('s')
    expect(texts(items)).toEqual(['a', 'gap source', 'b', 'gap source', 'c'])
    expect(items.filter((item) => item.type === 'gap').map((item) => item.missed)).toEqual([3, null])
    subscription.close()
  })

  test('an event that cannot be published rejects, ends nothing, and stands as a gap', async () => {
    const bus = new Bus()
    await using hub = createHub({ store: memoryStore(), source: bus })
    const subscription = await hub.subscribe('s')
    void bus.emit('s', { event: 'a\nb', data: 'unhandled, on purpose' })
    await expect(bus.emit('s', { event: 'a\nb', data: 'x' })).rejects.toThrow(TypeError)
    await bus.emit('s', { data: 'fine' })
    const { items } = await hub.read('s')
    expect(texts(items)).toEqual(['gap source', 'fine'])
    expect(items[0]).toMatchObject({ missed: 2 })
    subscription.close()
  })

  test('a loss that the store does not take is written down as soon as it does', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    const store = memoryStore()
    const append = store.append.bind(store)
    let isAway = false
    store.append = (...given) => {
      if (isAway) throw new Error('away')
      return append(...given)
    }
    await using hub = createHub({ store, source: bus, clock })
    const subscription = await hub.subscribe('s')
    isAway = true
    await expect(bus.emit('s', { data: 'lost' })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    isAway = false
    await clock.advance(1_000)
    expect((await subscription.next()).value).toMatchObject({ type: 'gap', reason: 'source', missed: 1 })
    subscription.close()
  })

  test('on a store that several processes share, an event without a key is refused', async () => {
    const bus = new Bus()
    await using hub = createHub({ store: Object.assign(memoryStore(), { shared: true }), source: bus })
    const subscription = await hub.subscribe('s')
    await expect(bus.emit('s', { data: 'x' })).rejects.toThrow('`key`')
    await bus.emit('s', { data: 'y', key: 'y' })
    subscription.close()
  })

  test('a leave that throws is reported and harms nobody', async () => {
    const onError = vi.fn()
    const source: Source = {
      join: async () => () => {
        throw new Error('cannot leave')
      },
    }
    const hub = createHub({ store: memoryStore(), source, onError })
    const subscription = await hub.subscribe('s')
    subscription.close()
    await hub.close()
    await hop()
    expect(onError).toHaveBeenCalledTimes(1)
  })

  test('1,000 clients that come and leave at random during joins leave nothing subscribed', async () => {
    const clock = virtualClock()
    const bus = new Bus()
    bus.confirmAtOnce = false
    const hub = createHub({ store: memoryStore(), source: bus, clock, idleMs: 1_000, joinTimeoutMs: 500 })
    const handler = sse(hub, { stream: (request) => new URL(request.url).pathname })
    const clients = Array.from({ length: 1_000 }, async (_, i) => {
      const leaving = new AbortController()
      clock.setTimeout(() => leaving.abort(), Math.random() * 1_500)
      await new Promise<void>((resolve) => clock.setTimeout(resolve, Math.random() * 1_000))
      const response = await handler(new Request(`http://x/${i % 20}`, { signal: leaving.signal }))
      await response.body?.cancel().catch(() => {})
    })
    let isOver = false
    const all = Promise.all(clients).then(() => {
      isOver = true
    })
    while (!isOver) {
      await clock.advance(10)
      for (const join of bus.joins.splice(0)) {
        if (Math.random() < 0.1) join.fail(new Error('no'))
        else if (Math.random() < 0.7) clock.setTimeout(join.confirm, Math.random() * 800)
      }
    }
    await all
    await clock.advance(5_000)
    for (const join of bus.joins) join.confirm()
    await hub.close()
    await clock.advance(2_000)
    expect(hub.stats()).toMatchObject({ connections: 0, streams: 0 })
    expect(clock.pending).toBe(0)
  })
})

test('hub.close waits until the source is left, though not beyond its grace', async () => {
  const clock = virtualClock()
  const steps: string[] = []
  let finish = () => {}
  const source: Source = {
    join: async () => async () => {
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      steps.push('left')
    },
  }
  const hub = createHub({ store: memoryStore(), source, clock, onError: (error) => steps.push(String(error)) })
  await hub.subscribe('s')
  const closing = hub.close({ graceMs: 1_000 }).then(() => steps.push('closed'))
  await clock.advance(999)
  expect(steps).toEqual([])
  finish()
  await closing
  expect(steps).toEqual(['left', 'closed'])
  const second = createHub({ store: memoryStore(), source, clock, onError: () => steps.push('told') })
  await second.subscribe('s')
  const late = second.close({ graceMs: 1_000 })
  await clock.advance(1_000)
  await late
  expect(steps).toEqual(['left', 'closed', 'told'])
  expect(clock.pending).toBe(0)
})
