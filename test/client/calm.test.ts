import { afterEach, expect, test, vi } from 'vitest'
import { connect } from '../../src/client/connect.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { CUT, collect, end, event, HANG, later, type Part, ready, scripted, settle, states } from './scripted.js'

const url = 'https://example.com/events'

afterEach(() => vi.unstubAllGlobals())

/** When attempts were made, in milliseconds from the first. */
async function attempts(forMs: number, parts: (number: number) => Part[]): Promise<number[]> {
  const clock = virtualClock()
  const times: number[] = []
  const server = scripted(({ number, answer }) => {
    times.push(clock.now())
    return answer(parts(number))
  })
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(forMs)
  stream.close()
  await settle()
  expect(got.error).toBeUndefined()
  expect([clock.pending, server.open]).toEqual([0, 0])
  return times.map((time) => time - (times[0] ?? 0))
}

const spacings = (times: number[]) => times.slice(1).map((time, i) => time - (times[i] ?? 0))

test.each<[string, Part[]]>([
  ['nothing', []],
  ['a ready', [ready({}, undefined, 1_000)]],
  ['heartbeats', [': beat\n\n', event('', undefined, 'stream:heartbeat').slice(0, -1)]],
  ['half an event', ['data: x\nid: 1\n']],
  ['a ready and an end', [ready(), end('shutdown')]],
])('200, %s and a close, for ten minutes, is at most 65 attempts and none too close', async (_, parts) => {
  for (let run = 0; run < 40; run++) {
    const times = await attempts(600_000, () => parts)
    expect(times.length).toBeLessThanOrEqual(65)
    expect(times.length).toBeGreaterThan(20)
    expect(Math.min(...spacings(times))).toBeGreaterThanOrEqual(1_000)
  }
})

test('maxAge said over and over, without anything else, is met calmly too', async () => {
  for (let run = 0; run < 20; run++) {
    const times = await attempts(600_000, () => [ready(), end('maxAge')])
    expect(times.length).toBeLessThanOrEqual(130)
  }
})

test('after maxAge the client is back within 250 ms', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const server = scripted(({ number, answer }) => answer(number === 1 ? [ready({}, 'e.0'), end('maxAge')] : [HANG]))
  const stream = connect(url, { fetch: server.fetch, clock, onState })
  await clock.advance(250)
  expect(server.requests).toHaveLength(2)
  expect(changes.at(-2)).toMatchObject({ state: 'waiting', reason: 'the server ended the response: maxAge' })
  stream.close()
})

test('an end that is no seal brings the client back after retry', async () => {
  for (const reason of ['shutdown', 'error', 'whatever']) {
    const times = await attempts(2_300, () => [ready({ resumed: undefined }), event('a', '1'), end(reason)])
    for (const spacing of spacings(times)) {
      expect(spacing).toBeGreaterThanOrEqual(1_000)
      expect(spacing).toBeLessThanOrEqual(1_100)
    }
    expect(times).toHaveLength(3)
  }
})

test.each([
  ['0', 100],
  ['50', 100],
  ['2500', 2_500],
  ['99999999999', 60_000],
  ['9'.repeat(30), 60_000],
  ['9'.repeat(400), 60_000],
  ['-1', 1_000],
  ['1e3', 1_000],
  ['', 1_000],
])('retry: %s means a wait of %d ms', async (retry, ms) => {
  const times = await attempts(133_000, (number) => (number < 3 ? [`retry: ${retry}\ndata: x\n\n`] : [HANG]))
  expect(times.length).toBeGreaterThanOrEqual(3)
  for (const spacing of spacings(times).slice(0, 2)) {
    expect(spacing).toBeGreaterThanOrEqual(ms)
    expect(spacing).toBeLessThanOrEqual(ms * 1.1)
  }
})

test('a stream that was open for five seconds ends as established, one that was not as a failure', async () => {
  for (const [openMs, established] of [
    [5_000, true],
    [4_999, false],
  ] as const) {
    const clock = virtualClock()
    const { changes, onState } = states()
    const cut = later()
    const server = scripted(({ answer }) => answer([ready(), cut.part]))
    vi.spyOn(Math, 'random').mockReturnValue(0.999)
    const stream = connect(url, { fetch: server.fetch, clock, onState })
    await clock.advance(openMs)
    cut.come(CUT)
    await settle()
    vi.restoreAllMocks()
    expect(changes.at(-1)?.state).toBe('waiting')
    expect(changes.at(-1)?.delayMs).toBeCloseTo(established ? 1_099.9 : 2_998)
    stream.close()
  }
})

test('failures count in a row, and an event ends the row', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const times = await attempts(200_000, (number) => (number === 4 ? [event('a', '1')] : []))
  vi.restoreAllMocks()
  expect(spacings(times).slice(0, 5)).toEqual([2_000, 3_000, 5_000, 1_050, 2_000])
})

test('ten thousand heartbeats a second deliver nothing and leave nothing', async () => {
  const clock = virtualClock()
  function* flood(): Generator<Part> {
    yield ready({ heartbeatMs: 1_000 }, 'e.0')
    for (let i = 0; i < 5_000; i++) yield `: ${i}\n\n: ${i}\n\nevent: stream:heartbeat\ndata: ${i}\n\n`
    yield event('done', 'e.1')
    yield HANG
  }
  const server = scripted(({ answer }) => answer(flood()))
  const stream = connect(url, { fetch: server.fetch, clock })
  await settle()
  expect(clock.pending).toBe(1)
  const got = collect(stream)
  await settle()
  expect(got.texts).toEqual(['done'])
  stream.close()
})

/** A page whose events a test can send, and whose listeners it can count. */
function stubPage() {
  const listeners = new Map<() => void, string>()
  const scope = {
    addEventListener: (type: string, listener: () => void) => listeners.set(listener, type),
    removeEventListener: (_: string, listener: () => void) => listeners.delete(listener),
  }
  const page = { ...scope, visibilityState: 'hidden' }
  vi.stubGlobal('addEventListener', scope.addEventListener)
  vi.stubGlobal('removeEventListener', scope.removeEventListener)
  vi.stubGlobal('document', page)
  const send = (type: string) => {
    for (const [listener, wanted] of [...listeners]) if (wanted === type) listener()
  }
  return { page, send, count: () => listeners.size }
}

test('online ends a wait, and listens only while it waits', async () => {
  const page = stubPage()
  const clock = virtualClock()
  const server = scripted(({ number, answer }) => answer(number < 3 ? [CUT] : [HANG]))
  const stream = connect(url, { fetch: server.fetch, clock })
  await settle()
  expect([stream.state, page.count()]).toEqual(['waiting', 2])
  page.send('online')
  await settle()
  expect(server.requests).toHaveLength(2)
  await clock.advance(10_000)
  expect([server.requests.length, page.count()]).toEqual([3, 0])
  page.send('online')
  await settle()
  expect(server.requests).toHaveLength(3)
  stream.close()
})

test('a page that is seen again ends a wait, one that is hidden does not', async () => {
  const page = stubPage()
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([CUT]))
  const stream = connect(url, { fetch: server.fetch, clock })
  await settle()
  page.send('visibilitychange')
  await settle()
  expect(server.requests).toHaveLength(1)
  page.page.visibilityState = 'visible'
  page.send('visibilitychange')
  await settle()
  expect(server.requests).toHaveLength(2)
  stream.close()
  expect([page.count(), clock.pending]).toEqual([0, 0])
})

test('a flapping network wakes the client once a second at most', async () => {
  const page = stubPage()
  const clock = virtualClock()
  const server = scripted(() => new Response('', { status: 503 }))
  const stream = connect(url, { fetch: server.fetch, clock })
  for (let i = 0; i < 1_000; i++) {
    page.send('online')
    await clock.advance(10)
  }
  expect(server.requests.length).toBeGreaterThan(8)
  expect(server.requests.length).toBeLessThanOrEqual(12)
  stream.close()
  expect([page.count(), clock.pending]).toEqual([0, 0])
})

test('online does not shorten what Retry-After asks for', async () => {
  const page = stubPage()
  const clock = virtualClock()
  const server = scripted(() => new Response('', { status: 503, headers: { 'retry-after': '60' } }))
  const stream = connect(url, { fetch: server.fetch, clock })
  await settle()
  page.send('online')
  await clock.advance(59_999)
  expect(server.requests).toHaveLength(1)
  await clock.advance(1)
  expect(server.requests).toHaveLength(2)
  stream.close()
})
