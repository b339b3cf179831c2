import { describe, expect, test } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { createHub, writeSSE } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type Fault, scriptedWritable, simulate, virtualClock } from '../../src/testing/index.js'

const texts = Array.from({ length: 30 }, (_, i) => `event ${i} é`)

/** Reads 30 events through faults on the first attempts; returns what was handed over, and what is left behind. */
async function readThrough(faults: (attempt: number) => readonly Fault[], virtualMs = 120_000) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock })
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  const seen: Request[] = []
  const serve = sse(hub, { stream: () => 's' })
  const handler = (request: Request) => {
    seen.push(request)
    return serve(request)
  }
  const fetch = simulate(handler, { faults, clock, seed: 7 })
  // What gets through is looked at, not what a client does about it.
  const stream = connect('http://test/?from=earliest', { clock, fetch, fallback: 'none' })
  const got: string[] = []
  const reading = (async () => {
    for await (const item of stream) got.push(item.type === 'event' ? item.data : item.reason)
  })()
  for (let ms = 0; ms < virtualMs && got.length < texts.length; ms += 500) await clock.advance(500)
  stream.close()
  await reading
  await clock.advance(60_000) // half open connections go at the write deadline
  const left = hub.stats()
  await hub.close()
  await clock.advance(5_000)
  return { got, left, attempts: seen.length, requests: seen, pending: clock.pending }
}

describe('through every fault nothing is lost, and nothing is left behind', () => {
  const first =
    (...faults: Fault[]) =>
    (attempt: number) =>
      attempt === 1 ? faults : []
  const always =
    (...faults: Fault[]) =>
    () =>
      faults
  const cases: [string, (attempt: number) => readonly Fault[], { attempts?: number; open?: number }][] = [
    ['none', always(), { attempts: 1 }],
    ['slow', always({ kind: 'slow', bytesPerSecond: 100 }), { attempts: 1 }],
    ['stalled', first({ kind: 'stalled', afterBytes: 400 }), { attempts: 2 }],
    ['buffering some', always({ kind: 'buffering', bytes: 300 }), {}],
    ['dropping in the head', first({ kind: 'dropping', afterBytes: 'head' }), { attempts: 2 }],
    ['dropping in a frame', first({ kind: 'dropping', afterBytes: 333 }), { attempts: 2 }],
    ['dropping in order', first({ kind: 'dropping', afterBytes: 333, orderly: true }), { attempts: 2 }],
    // Heartbeats fit any buffer, so the server cannot tell: such a connection goes with `maxAgeMs`, or at the end.
    ['halfOpen', first({ kind: 'halfOpen', afterBytes: 500 }), { attempts: 2, open: 1 }],
    ['idle', first({ kind: 'slow', bytesPerSecond: 50 }, { kind: 'idle', ms: 50 }), { attempts: 2 }],
    ['flap', first({ kind: 'slow', bytesPerSecond: 100 }, { kind: 'flap', ms: 2_000 }), { attempts: 2 }],
    ['split to bytes', always({ kind: 'split', bytes: 1 }), { attempts: 1 }],
    ['split at random', always({ kind: 'split' }), { attempts: 1 }],
    [
      'strip',
      (n) => (n === 1 ? [{ kind: 'dropping', afterBytes: 500 }] : [{ kind: 'strip', header: 'last-event-id' }]),
      { attempts: 3 },
    ],
    [
      'status',
      always({ kind: 'status', answers: [{ status: 503 }, { status: 429, headers: { 'retry-after': '2' } }] }),
      { attempts: 1 },
    ],
    [
      'all at once',
      first({ kind: 'split' }, { kind: 'slow', bytesPerSecond: 200 }, { kind: 'dropping', afterBytes: 701 }),
      { attempts: 2 },
    ],
  ]
  test.each(cases)('%s', async (_, faults, expected) => {
    const { got, left, attempts, pending } = await readThrough(faults)
    expect(got).toEqual(texts)
    if (expected.attempts !== undefined) expect(attempts).toBe(expected.attempts)
    const open = expected.open ?? 0
    expect(left).toMatchObject({ connections: open, streams: open })
    expect(pending).toBe(0)
  })
})

test('buffering for ever hands over nothing, and holdLast holds the newest back', async () => {
  const held = await readThrough(() => [{ kind: 'buffering', bytes: Number.POSITIVE_INFINITY }], 20_000)
  expect(held.got).toEqual([])
  const gzip = await readThrough(() => [{ kind: 'gzip' }], 20_000)
  expect(gzip.got).toEqual([])
  const last = await readThrough(() => [{ kind: 'split', bytes: 400 }, { kind: 'holdLast' }], 10_000)
  expect(last.got.length).toBeGreaterThan(10)
  expect(last.got.length).toBeLessThan(30)
})

test('restart sends this and all later requests to another server', async () => {
  const clock = virtualClock()
  const [old, fresh] = [createHub({ store: memoryStore(), clock }), createHub({ store: memoryStore(), clock })]
  await old.publish('s', [{ data: 'a' }, { data: 'b' }])
  await fresh.publish('s', { data: 'c' })
  const to = sse(fresh, { stream: () => 's' })
  const stream = connect('http://test/?from=earliest', {
    clock,
    fetch: simulate(sse(old, { stream: () => 's' }), {
      clock,
      faults: (attempt) => (attempt === 1 ? [{ kind: 'flap', ms: 1_000 }] : [{ kind: 'restart', to }]),
    }),
  })
  const got: string[] = []
  const reading = (async () => {
    for await (const item of stream) got.push(item.type === 'event' ? item.data : item.reason)
  })()
  await clock.advance(10_000)
  stream.close()
  await reading
  expect(got).toEqual(['a', 'b', 'epoch', 'c'])
})

test('duplicate loses the answer of a request that the server handled', async () => {
  let handled = 0
  const post = simulate(
    async (request) => {
      handled++
      return new Response(await request.text())
    },
    { faults: (attempt) => (attempt === 1 ? [{ kind: 'duplicate' }] : []) },
  )
  await expect(post('http://test/', { method: 'POST', body: 'x' })).rejects.toThrow(TypeError)
  expect(await (await post('http://test/', { method: 'POST', body: 'x' })).text()).toBe('x')
  expect(handled).toBe(2)
})

test('a scripted writable drains late, never, or closes', async () => {
  const clock = virtualClock()
  const target = scriptedWritable({
    clock,
    script: (n) => (n === 1 ? { drainMs: 1_000 } : n === 2 ? 'take' : n === 3 ? 'never' : 'close'),
  })
  const first = writeSSE(target, { data: '1' }, { clock })
  await clock.advance(1_000)
  await first
  await writeSSE(target, { data: '2' }, { clock })
  const third = writeSSE(target, { data: '3' }, { clock, timeoutMs: 500 })
  const refused = expect(third).rejects.toMatchObject({ code: 'WRITE_TIMEOUT' })
  await clock.advance(500)
  await refused
  expect(target.text).toBe('data: 1\n\ndata: 2\n\ndata: 3\n\n')
  expect(target.listeners).toBe(0)
  expect(clock.pending).toBe(0)
})

test('a frozen clock fires nothing until it is thawed', async () => {
  const clock = virtualClock()
  const fired: number[] = []
  clock.setTimeout(() => fired.push(clock.now()), 1_000)
  const begun = clock.now()
  clock.freeze()
  await clock.advance(5_000)
  expect(fired).toEqual([])
  clock.thaw()
  await clock.advance(0)
  expect(fired).toEqual([begun + 5_000])
})
