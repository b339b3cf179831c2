import { expect, test } from 'vitest'
import { connect, type EventStream } from '../../src/client/connect.js'
import { linkOf } from '../../src/client/link.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { collect, event, HANG, ready, scripted, settle } from './scripted.js'

const url = 'http://test/events'

const hello = (number: number, cursor: string | null) =>
  ready({ connection: `c${number}`, resumed: cursor === null ? 'new' : 'ok' }, cursor ?? 'e.0')

test('only what connect() made has a link', () => {
  for (const stream of [undefined, null, 7, {}, 'http://test/']) {
    expect(() => linkOf(stream as never as EventStream)).toThrow(/Expected `stream` to be an EventStream.*connect\(\)/)
  }
})

test('headers are made for each who asks, and made anew once for all who were refused', async () => {
  const clock = virtualClock()
  let calls = 0
  const server = scripted(({ number, answer }) =>
    number === 1 ? new Response('', { status: 401 }) : answer([event('a', 'e.1'), HANG]),
  )
  const headers = async () => {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 50))
    return { authorization: `token ${++calls}` }
  }
  const stream = connect(url, { fetch: server.fetch, clock, headers })
  const link = linkOf(stream)
  await clock.advance(50)
  // The stream was refused and makes its headers anew; who is refused meanwhile joins.
  const refreshed = [link.headers.renew(), link.headers.renew()]
  await clock.advance(50)
  await Promise.all(refreshed)
  expect((await link.headers.make()).get('authorization')).toBe('token 2')
  await link.headers.renew()
  expect([calls, server.requests[1]?.headers.get('authorization')]).toEqual([2, 'token 2'])
  expect((await link.headers.make()).has('accept')).toBe(false)
  await clock.advance(1_000)
  const later = link.headers.make()
  await clock.advance(50)
  expect((await later).get('authorization')).toBe('token 3')
  stream.close()
})

test('headers that cannot be made are the trouble of those who ask, and are tried again', async () => {
  const clock = virtualClock()
  let calls = 0
  const headers = () => {
    if (++calls === 2) throw new Error('no token')
    return { 'x-call': String(calls) }
  }
  const server = scripted(({ answer }) => answer([HANG]))
  const stream = connect(url, { fetch: server.fetch, clock, headers })
  const link = linkOf(stream)
  await settle()
  await expect(link.headers.renew()).rejects.toThrow('no token')
  expect((await link.headers.make()).get('x-call')).toBe('3')
  stream.close()
})

test('headers that are never made do not hold up the next attempt for ever', async () => {
  const clock = virtualClock()
  let calls = 0
  const server = scripted(({ number, answer }) =>
    number === 1 ? new Response('', { status: 401 }) : answer([event('a', 'e.1'), HANG]),
  )
  const headers = () => (++calls === 2 ? new Promise<HeadersInit>(() => {}) : {})
  const stream = connect(url, { fetch: server.fetch, clock, headers })
  const got = collect(stream)
  await clock.advance(60_000)
  expect(got.texts).toEqual(['a'])
  stream.close()
  await settle()
  expect(clock.pending).toBe(0)
})

test('reopen ends the open response and asks again at once, but makes no hot loop', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, cursor, answer }) => answer([hello(number, cursor), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock })
  const link = linkOf(stream)
  collect(stream)
  await clock.advance(10)
  link.reopen()
  await clock.advance(0)
  expect([server.requests.length, stream.connection]).toEqual([2, 'c2'])
  for (let n = 0; n < 100; n++) {
    link.reopen()
    await clock.advance(100)
  }
  expect(server.requests.length).toBeLessThanOrEqual(12)
  expect(server.requests.length).toBeGreaterThan(8)
  stream.close()
  link.reopen()
  await clock.advance(60_000)
  expect([clock.pending, server.open]).toEqual([0, 0])
})

test('reopen ends the wait for the next attempt', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) =>
    number === 1 ? new Response('', { status: 503 }) : answer([ready({}, 'e.0'), HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock })
  await clock.advance(10)
  expect([stream.state, server.requests.length]).toEqual(['waiting', 1])
  linkOf(stream).reopen()
  await clock.advance(0)
  expect([stream.state, server.requests.length]).toEqual(['open', 2])
  stream.close()
})

test('reopen does not pass a Retry-After, and wakes nothing that was stopped', async () => {
  const clock = virtualClock()
  const server = scripted(() => new Response('', { status: 503, headers: { 'retry-after': '30' } }))
  const stream = connect(url, { fetch: server.fetch, clock })
  stream.ready.catch(() => {})
  await clock.advance(10)
  linkOf(stream).reopen()
  await clock.advance(29_900)
  expect(server.requests).toHaveLength(1)
  await clock.advance(100)
  expect(server.requests).toHaveLength(2)
  stream.close()
  linkOf(stream).reopen()
  expect(clock.pending).toBe(0)
})
