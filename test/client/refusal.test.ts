import { expect, test } from 'vitest'
import { connect } from '../../src/client/connect.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { CUT, collect, event, HANG, ready, scripted, settle, states } from './scripted.js'

const url = 'https://example.com/events?token=secret'
const sseBody = [ready(), event('not for you', '1')]

test.each([
  [404, 'text/event-stream', 'HTTP_STATUS'],
  [403, 'application/json', 'HTTP_STATUS'],
  [401, 'text/plain', 'HTTP_STATUS'],
  [304, 'text/event-stream', 'HTTP_STATUS'],
  [200, 'text/html', 'NOT_AN_EVENT_STREAM'],
  [202, 'text/event-stream', 'NOT_AN_EVENT_STREAM'],
])('a first answer of %d %s is final, its body unread', async (status, type, code) => {
  const clock = virtualClock()
  const server = scripted(({ answer }) =>
    status === 304 ? new Response(null, { status }) : answer(sseBody, { status, headers: { 'content-type': type } }),
  )
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await settle()
  expect(got).toMatchObject({ texts: [], done: true, error: { name: 'SseError', code, status } })
  await expect(stream.ready).rejects.toMatchObject({ code, status })
  expect(stream.state).toBe('closed')
  expect([server.requests.length, server.pulled, server.open, clock.pending]).toEqual([1, 0, 0, 0])
})

test.each([408, 425, 429, 500, 502, 503, 504])(
  'a %d is tried again, its body unread, even one that looks like events',
  async (status) => {
    const clock = virtualClock()
    const server = scripted(({ number, answer }) =>
      number < 4
        ? answer(sseBody, { status, headers: { 'content-type': 'text/event-stream' } })
        : answer([event('yes', '2'), HANG]),
    )
    const stream = connect(url, { fetch: server.fetch, clock })
    const got = collect(stream)
    await clock.advance(60_000)
    expect(got.texts).toEqual(['yes'])
    stream.close()
    expect([server.open, clock.pending]).toEqual([0, 0])
  },
)

test.each([
  [404, 'text/html', 'HTTP 404'],
  [200, 'text/html', 'not an event stream (HTTP 200)'],
])('once the stream was ready, a %d %s backs off and says so', async (status, type, reason) => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const server = scripted(({ number, answer }) => {
    if (number === 1) return answer([ready({}, 'e.0'), event('a', 'e.1'), CUT])
    if (number < 6) return answer(sseBody, { status, headers: { 'content-type': type } })
    return answer([ready({ resumed: 'ok' }, 'e.1'), event('b', 'e.2'), HANG])
  })
  const stream = connect(url, { fetch: server.fetch, clock, onState, silenceMs: 600_000 })
  const got = collect(stream)
  await clock.advance(120_000)
  expect(got.texts).toEqual(['a', 'b'])
  const waits = changes.filter((change) => change.state === 'waiting').slice(1)
  expect(waits).toHaveLength(4)
  for (const [n, wait] of waits.entries()) {
    expect(wait.reason).toBe(`${reason}; tried again because the stream was ready before`)
    expect(wait.delayMs).toBeLessThanOrEqual(1_000 + 1_000 * 2 ** (n + 1))
  }
  stream.close()
})

test('a 204 is the normal end', async () => {
  const clock = virtualClock()
  const server = scripted(() => new Response(null, { status: 204 }))
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(600_000)
  expect(got).toMatchObject({ texts: [], done: true, error: undefined })
  await expect(stream.ready).rejects.toMatchObject({ code: 'CLOSED' })
  expect([server.requests.length, clock.pending]).toEqual([1, 0])
})

test('a 401 makes the headers anew, once and at once', async () => {
  const clock = virtualClock()
  let token = 0
  const server = scripted(({ number, headers, answer }) => {
    if (number === 3) return answer([CUT])
    return headers.get('authorization') === 'token 1' || number === 4
      ? new Response('', { status: 401 })
      : answer([event(headers.get('authorization') ?? '', `e.${number}`), CUT])
  })
  const headers = async () => ({ authorization: `token ${++token}` })
  const stream = connect(url, { fetch: server.fetch, clock, headers })
  const got = collect(stream)
  await settle()
  expect(got.texts).toEqual(['token 2'])
  // Ready again, so that a later 401 is met in the same way.
  await clock.advance(10_000)
  expect(got.texts.slice(0, 2)).toEqual(['token 2', 'token 5'])
  expect(got.error).toBeUndefined()
  stream.close()
})

test('a second 401 is final, even after the stream was ready', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) =>
    number === 1 ? answer([event('a', '1'), CUT]) : new Response('', { status: 401 }),
  )
  const stream = connect(url, { fetch: server.fetch, clock, headers: () => ({}) })
  const got = collect(stream)
  await clock.advance(1_100)
  expect(got).toMatchObject({ texts: ['a'], error: { code: 'HTTP_STATUS', status: 401 } })
  expect(server.requests).toHaveLength(3)
})

test('a 401 to headers that cannot change is final', async () => {
  const server = scripted(() => new Response('', { status: 401 }))
  const got = collect(connect(url, { fetch: server.fetch, clock: virtualClock(), headers: { authorization: 'x' } }))
  await settle()
  expect(got.error).toMatchObject({ code: 'HTTP_STATUS', status: 401 })
  expect(server.requests).toHaveLength(1)
})

test('Retry-After is a floor, and an hour its most', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const after = ['30', 'Fri, 21 Nov 2025 16:00:00 GMT', '999999', 'x']
  const server = scripted(
    ({ number }) => new Response('', { status: 503, headers: { 'retry-after': after[number - 1] ?? '' } }),
  )
  const stream = connect(url, { fetch: server.fetch, clock, onState })
  await clock.advance(3_600_000 * 1.5)
  const [first, second, third, fourth] = changes.filter(({ state }) => state === 'waiting')
  expect(first?.delayMs).toBeGreaterThanOrEqual(30_000)
  expect(first?.delayMs).toBeLessThanOrEqual(32_000)
  const untilDate = Date.parse('Fri, 21 Nov 2025 16:00:00 GMT') - (1_763_740_000_000 + (first?.delayMs ?? 0))
  expect(second?.delayMs).toBeGreaterThanOrEqual(untilDate)
  expect(second?.delayMs).toBeLessThanOrEqual(untilDate + 4_001)
  expect(third?.delayMs).toBeGreaterThanOrEqual(3_600_000)
  expect(third?.delayMs).toBeLessThanOrEqual(3_608_000)
  expect(fourth?.delayMs).toBeLessThanOrEqual(17_000)
  stream.close()
})

test('isTerminal overrules in both directions, and keeps the default where it says or throws nothing of use', async () => {
  const run = async (status: number, isTerminal: (error: { status: number | undefined }) => boolean | undefined) => {
    const clock = virtualClock()
    const server = scripted(() => new Response('', { status }))
    const stream = connect(url, { fetch: server.fetch, clock, isTerminal })
    const got = collect(stream)
    await clock.advance(20_000)
    stream.close()
    return [got.error !== undefined, server.requests.length > 1]
  }
  expect(await run(503, (error) => error.status === 503)).toEqual([true, false])
  expect(await run(404, () => false)).toEqual([false, true])
  expect(await run(404, () => undefined)).toEqual([true, false])
  expect(await run(503, () => undefined)).toEqual([false, true])
  const broken = () => {
    throw new Error('broken')
  }
  expect(await run(404, broken)).toEqual([true, false])
})

test('what fails on the way is tried again, and the reason names it without quoting it', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const faults = [
    () => Promise.reject(Object.assign(new TypeError(`fetch failed ${url}`), { cause: { code: 'ECONNREFUSED' } })),
    () => Promise.reject(new TypeError('secret')),
    () => Promise.reject('secret'),
    () => Promise.resolve(undefined as unknown as Response),
    () =>
      Promise.resolve({
        status: 200,
        headers: new Headers({ 'content-type': 'text/event-stream' }),
        body: {},
      } as Response),
    () => Promise.resolve(new Response(null, { headers: { 'content-type': 'text/event-stream' } })),
  ]
  const server = scripted(({ number }) => faults[(number - 1) % faults.length]?.() ?? new Response())
  let calls = 0
  const headers = () => {
    if (++calls === 7) throw new Error('secret')
    if (calls === 8) return { 'bad header secret': 'x' }
    return { authorization: 'secret' }
  }
  const stream = connect(url, { fetch: server.fetch, clock, onState, headers })
  await clock.advance(200_000)
  stream.close()
  const reasons = changes.filter(({ state }) => state === 'waiting').map(({ reason }) => reason)
  expect(reasons.slice(0, 8)).toEqual([
    'the request failed (ECONNREFUSED)',
    'the request failed (TypeError)',
    'the request failed',
    'the request failed (TypeError)',
    'the response broke off (TypeError)',
    'the response ended',
    'the headers failed (Error)',
    'the headers failed (TypeError)',
  ])
  expect(JSON.stringify(changes)).not.toContain('secret')
})

test('the body of a refusal is cancelled, even where fetch does not heed its signal', async () => {
  let cancelled = 0
  const fetch = async () =>
    new Response(
      new ReadableStream({
        cancel() {
          cancelled++
        },
      }),
      { status: 404 },
    )
  const got = collect(connect(url, { fetch, clock: virtualClock() }))
  await settle()
  expect(got.error).toMatchObject({ code: 'HTTP_STATUS' })
  expect(cancelled).toBe(1)
})
