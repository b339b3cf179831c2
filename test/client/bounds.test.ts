import { expect, test } from 'vitest'
import { connect } from '../../src/client/connect.js'
import { BlockReader, readBlocks } from '../../src/client/read.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { bytes, CUT, collect, event, HANG, later, type Part, ready, scripted, settle, states } from './scripted.js'

const url = 'https://example.com/events'

/** A kilobyte per event, without end. */
function* endless(): Generator<Part> {
  yield ready({ resumed: undefined, heartbeatMs: 1_000 })
  for (let i = 0; ; i++) yield event(String(i).padEnd(1_000, '.'), String(i))
}

test('a consumer that does not read stops the reading at the bound', async () => {
  const server = scripted(({ answer }) => answer(endless()))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), maxBufferedBytes: 100_000 })
  await settle(10)
  expect(server.pulled).toBeGreaterThan(80)
  expect(server.pulled).toBeLessThan(110)
  const before = server.pulled
  const iterator = stream[Symbol.asyncIterator]()
  for (let i = 0; i < 40; i++) await iterator.next()
  await settle(10)
  expect(server.pulled).toBe(before)
  for (let i = 0; i < 20; i++) await iterator.next()
  await settle(10)
  expect(server.pulled).toBeGreaterThan(before + 40)
  expect(server.pulled).toBeLessThan(before + 110)
  stream.close()
})

test('while the consumer does not read, silence is not counted, and nothing is lost', async () => {
  const clock = virtualClock()
  function* parts(): Generator<Part> {
    yield ready({ heartbeatMs: 1_000 }, 'e.0')
    for (let i = 0; i < 300; i++) yield event(String(i).padEnd(1_000, '.'), `e.${i}`)
    yield HANG
  }
  const server = scripted(({ answer }) => answer(parts()))
  const stream = connect(url, { fetch: server.fetch, clock, maxBufferedBytes: 50_000 })
  await clock.advance(3_600_000)
  expect([server.requests.length, clock.pending, stream.state]).toEqual([1, 0, 'open'])
  const iterator = stream[Symbol.asyncIterator]()
  for (let i = 0; i < 300; i++) expect((await iterator.next()).value?.id).toBe(`e.${i}`)
  // Fresh when reading goes on: three seconds from now.
  await clock.advance(2_999)
  expect(stream.state).toBe('open')
  await clock.advance(1)
  expect(stream.state).toBe('waiting')
  stream.close()
})

test('one large chunk overshoots the bound by a piece of 64 KiB at most', async () => {
  const pieces: number[] = []
  const reader = new ReadableStream<Uint8Array>({ start: (to) => to.enqueue(new Uint8Array(1_000_000)) }).getReader()
  const gate = {
    over: false,
    heard: () => {},
    before: (piece: Uint8Array) => pieces.push(piece.length),
    after: () => (pieces.length < 3 ? undefined : new Promise<void>(() => {})),
  }
  void readBlocks(reader, new BlockReader(1e9, { block: () => {}, place: () => {}, retry: () => {} }), gate)
  await settle()
  expect(pieces).toEqual([65_536, 65_536, 65_536])
})

test('all of a chunk larger than the buffer arrives', async () => {
  const chunk = Array.from({ length: 20_000 }, (_, i) => event(String(i), String(i))).join('')
  const server = scripted(({ answer }) => answer([chunk, HANG]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), maxBufferedBytes: 10_000 })
  const got = collect(stream)
  await settle(5)
  expect(got.texts).toHaveLength(20_000)
  expect(got.texts.every((text, i) => text === String(i))).toBe(true)
  stream.close()
})

test('an event larger than the bound is the end, behind those before it', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) =>
    answer([ready({}, 'e.0'), event('a', 'e.1'), event('x'.repeat(2_000), 'e.2'), HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock, maxEventBytes: 1_000, isTerminal: () => false })
  const got = collect(stream)
  await clock.advance(600_000)
  expect(got).toMatchObject({ texts: ['a'], error: { name: 'SseError', code: 'FRAME_TOO_LARGE' } })
  expect(stream.cursor).toBe('e.1')
  expect([server.requests.length, server.open, clock.pending]).toEqual([1, 0, 0])
})

test.each([
  ['data', 'data: '],
  ['a comment', ': '],
  ['nothing known', 'zzz'],
])('an endless line of %s ends at 16 MiB, with memory to match', async (_, prefix) => {
  const clock = virtualClock()
  const junk = bytes('x'.repeat(65_536))
  function* line(): Generator<Part> {
    yield prefix
    for (;;) yield junk
  }
  const server = scripted(({ answer }) => answer(line()))
  const got = collect(connect(url, { fetch: server.fetch, clock }))
  await settle(20)
  expect(got.error).toMatchObject({ code: 'FRAME_TOO_LARGE' })
  expect(server.pulled).toBe(257)
})

test('the deadline on connecting covers the headers, the connection and the head', async () => {
  for (const phase of ['headers', 'connect', 'late headers'] as const) {
    const clock = virtualClock()
    const { changes, onState } = states()
    const forever = () => new Promise<never>(() => {})
    const slow = () => new Promise<HeadersInit>((resolve) => clock.setTimeout(() => resolve({}), 9_000))
    const stream = connect(url, {
      clock,
      onState,
      fetch: forever,
      fallback: 'none',
      ...(phase === 'headers' && { headers: forever }),
      ...(phase === 'late headers' && { headers: slow }),
    })
    await clock.advance(9_999)
    expect(stream.state).toBe('connecting')
    await clock.advance(1)
    expect(changes.at(-1)).toMatchObject({ state: 'waiting', reason: 'no response head within 10000 ms' })
    stream.close()
    await clock.advance(20_000)
    expect(clock.pending).toBe(0)
  }
})

test('silence in the body is measured by what the server announced, and remembered', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const server = scripted(({ number, answer }) =>
    answer(number === 1 ? [ready({ heartbeatMs: 2_000, resumed: undefined }), event('a', '1'), HANG] : [HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock, onState })
  await clock.advance(5_999)
  expect(stream.state).toBe('open')
  await clock.advance(1)
  expect(changes.at(-1)).toMatchObject({ state: 'waiting', reason: 'no byte for 6000 ms' })
  await clock.advance(1_100)
  expect(stream.state).toBe('connecting')
  await clock.advance(6_000)
  expect(changes.at(-1)).toMatchObject({ state: 'waiting', reason: 'no byte for 6000 ms' })
  expect(server.open).toBe(0)
  stream.close()
})

test('without an announcement silence is 300 seconds, with the option what it says', async () => {
  for (const [silenceMs, expected] of [
    [undefined, 300_000],
    [7_000, 7_000],
  ] as const) {
    const clock = virtualClock()
    const parts: Part[] = silenceMs ? [ready({ heartbeatMs: 1_000 }), HANG] : [event('a', '1'), HANG]
    const server = scripted(({ answer }) => answer(parts))
    const stream = connect(url, { fetch: server.fetch, clock, silenceMs })
    await settle()
    await clock.advance(expected - 1)
    expect(stream.state).toBe('open')
    await clock.advance(1)
    expect(stream.state).toBe('waiting')
    stream.close()
  }
})

test('an announced heartbeat of nonsense makes no hammer', async () => {
  for (const heartbeatMs of [1e-9, 1, 1e300, -5, 'x', null]) {
    const clock = virtualClock()
    const server = scripted(({ answer }) => answer([ready({ heartbeatMs, resumed: undefined }), HANG]))
    const stream = connect(url, { fetch: server.fetch, clock })
    await clock.advance(60_000)
    expect(server.requests.length).toBeLessThan(25)
    stream.close()
  }
})

test('any byte counts as a sign of life', async () => {
  const clock = virtualClock()
  let beat = later()
  function* parts(): Generator<Part> {
    yield ready({ heartbeatMs: 1_000 })
    for (;;) {
      beat = later()
      yield beat.part
    }
  }
  const server = scripted(({ answer }) => answer(parts()))
  const stream = connect(url, { fetch: server.fetch, clock })
  for (const byte of ': hello\n\nda') {
    await clock.advance(2_900)
    beat.come(byte)
  }
  await settle()
  expect(stream.state).toBe('open')
  await clock.advance(3_000)
  expect(stream.state).toBe('waiting')
  stream.close()
})

test('after the process slept, bytes that wait are read before the stream is judged', async () => {
  const clock = virtualClock()
  const beat = later()
  const server = scripted(({ answer }) => answer([ready({ heartbeatMs: 1_000 }), beat.part, HANG]))
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await settle()
  clock.jump(3_600_000)
  const passing = clock.advance(0)
  beat.come(event('while you slept', '1'))
  await passing
  await clock.advance(2_000)
  expect([stream.state, server.requests.length]).toEqual(['open', 1])
  expect(got.texts).toEqual(['while you slept'])
  stream.close()
})

test('a thousand attempts leave nothing behind on the signal', async () => {
  const clock = virtualClock()
  const abort = new AbortController()
  let added = 0
  const { addEventListener } = abort.signal
  abort.signal.addEventListener = (...input: Parameters<typeof addEventListener>) => {
    added++
    addEventListener.apply(abort.signal, input)
  }
  const server = scripted(({ number, answer }) => answer([event('a', String(number)), CUT]))
  const stream = connect(url, { fetch: server.fetch, clock, signal: abort.signal })
  const got = collect(stream)
  await clock.advance(1_100_000)
  expect(got.texts.length).toBeGreaterThanOrEqual(1_000)
  expect(added).toBe(1)
  stream.close()
})
