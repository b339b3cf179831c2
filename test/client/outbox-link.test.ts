import { expect, test, vi } from 'vitest'
import { connect } from '../../src/client/connect.js'
import { createOutbox, type OutboxOptions } from '../../src/client/outbox.js'
import { virtualClock } from '../../src/testing/index.js'
import { type Answer, accepts, endOf } from './outboxes.js'
import { CUT, HANG, type Part, ready, type ScriptedRequest, scripted, settle } from './scripted.js'

/** A stream whose connections are `c1`, `c2`, …, and an outbox that is linked to it. */
function linked(answer: Answer, options: OutboxOptions = {}, parts: (number: number) => Part[] = () => [HANG]) {
  const clock = virtualClock()
  const down = { is: false }
  const streams = scripted(({ number, answer: open }) => {
    if (down.is) return new Response(null, { status: 503 })
    return open([ready({ connection: `c${number}` }), ...parts(number)])
  })
  let token = 0
  const stream = connect('http://test/events', {
    clock,
    fetch: streams.fetch,
    headers: async () => ({ authorization: `token ${++token}` }),
  })
  const posts = scripted(answer)
  const outbox = createOutbox('http://test/messages', { clock, fetch: posts.fetch, stream, ...options })
  const connections = () => posts.requests.map(({ headers }) => headers.get('sse-connection'))
  return { clock, down, stream, streams, posts, outbox, connections }
}

const unknownUnless =
  (...known: string[]): Answer =>
  (request: ScriptedRequest) =>
    known.includes(request.headers.get('sse-connection') ?? '') ? accepts(request) : new Response(null, { status: 404 })

test('what is sent carries the connection of the stream, and its headers', async () => {
  const { clock, stream, posts, outbox, connections } = linked(accepts)
  // It waits for nothing.
  await outbox.send('early')
  await clock.advance(0)
  await outbox.send('later')
  expect(connections()).toEqual([null, 'c1'])
  expect(posts.requests[1]?.headers.get('authorization')).toMatch(/^token/)
  expect(posts.requests[1]?.headers.has('accept')).toBe(false)
  await outbox.close()
  stream.close()
  expect(clock.pending).toBe(0)
})

test('with `whenReady`, sends wait until the stream is open', async () => {
  const { clock, stream, down, outbox, connections } = linked(accepts, { whenReady: true })
  down.is = true
  const sent = endOf(outbox.send('x'))
  await clock.advance(10_000)
  expect([sent.end, connections()]).toEqual(['pending', []])
  down.is = false
  await clock.advance(60_000)
  expect(sent.end).toBe('accepted')
  expect(connections()).toHaveLength(1)
  expect(connections()[0]).toMatch(/^c\d+$/)
  // A stream that has ended is never ready: nothing is sent, and nothing waits for ever.
  stream.close()
  const late = endOf(outbox.send('y'))
  await clock.advance(600_000)
  expect([late.end, clock.pending]).toEqual(['EXPIRED', 0])
})

test.each([404, 410])(
  'a %i has the stream opened anew, once for all lanes, and is sent with the new id',
  async (status) => {
    const { clock, stream, streams, outbox, connections } = linked((request) =>
      request.headers.get('sse-connection') === 'c2' ? accepts(request) : new Response(null, { status }),
    )
    await clock.advance(0)
    const ends = ['a', 'b', 'c'].map((lane) => endOf(outbox.send(lane, { lane })))
    await clock.advance(5_000)
    expect(ends.map(({ end }) => end)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(connections()).toEqual(['c1', 'c1', 'c1', 'c2', 'c2', 'c2'])
    expect(streams.requests).toHaveLength(2)
    await outbox.close()
    stream.close()
  },
)

test('a server that never knows the connection rejects the message: it is not asked for ever', async () => {
  const { clock, stream, streams, outbox, connections } = linked(unknownUnless())
  await clock.advance(0)
  const sent = endOf(outbox.send('x'))
  await clock.advance(20_000)
  expect(sent).toMatchObject({ end: 'REJECTED', error: { status: 404 } })
  expect([connections(), streams.requests.length]).toEqual([['c1', 'c2'], 2])
  await outbox.close()
  stream.close()
  expect(clock.pending).toBe(0)
})

test('the wait for the stream is bounded by the age of the message, and by the end of the stream', async () => {
  const { clock, stream, down, outbox } = linked(unknownUnless())
  await clock.advance(0)
  down.is = true
  const aged = endOf(outbox.send('x', { lane: 'a' }))
  await clock.advance(599_999)
  expect(aged.end).toBe('pending')
  const ended = endOf(outbox.send('y', { lane: 'b' }))
  await clock.advance(1)
  expect(aged.end).toBe('EXPIRED')
  stream.close()
  await settle()
  expect(ended.end).toBe('REJECTED')
  expect(clock.pending).toBe(0)
})

test('without a stream a 404 rejects', async () => {
  const { fetch, requests } = scripted(() => new Response(null, { status: 404 }))
  const outbox = createOutbox('http://test/', { clock: virtualClock(), fetch })
  await expect(outbox.send('x')).rejects.toMatchObject({ code: 'REJECTED', status: 404 })
  expect(requests).toHaveLength(1)
})

test('a 401 makes the headers of the stream anew, once for all', async () => {
  const { clock, stream, posts, outbox } = linked(({ headers }) =>
    Number(headers.get('authorization')?.split(' ')[1]) < 4 ? new Response(null, { status: 401 }) : new Response(),
  )
  await clock.advance(0)
  const ends = ['a', 'b'].map((lane) => endOf(outbox.send(lane, { lane })))
  await clock.advance(0)
  expect(ends.map(({ end }) => end)).toEqual(['accepted', 'accepted'])
  // One token of the stream, one of each send, and a new one for both.
  expect(posts.requests.map(({ headers }) => headers.get('authorization'))).toEqual([
    'token 2',
    'token 3',
    'token 4',
    'token 4',
  ])
  await outbox.close()
  stream.close()
})

test('when the stream is up again, a waiting message is sent at once, yet not before `Retry-After`', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.999)
  const answers: Answer = ({ number, init }) => {
    if (number > 2) return new Response()
    return new Response(null, { status: 503, headers: { 'retry-after': init.body === 'soon' ? '3' : '50' } })
  }
  let cut: (part: Part) => void = () => {}
  const { clock, stream, posts, outbox } = linked(answers, {}, (number) =>
    number === 1 ? [new Promise<typeof CUT>((resolve) => (cut = () => resolve(CUT)))] : [HANG],
  )
  await clock.advance(10_000)
  const begun = clock.now()
  let soonAt = 0
  void outbox.send('soon', { lane: 'a' }).then(() => {
    soonAt = clock.now()
  })
  const late = endOf(outbox.send('late', { lane: 'b' }))
  await clock.advance(3_000)
  cut(CUT)
  await clock.advance(2_000) // the stream, which was established, is back after its `retry`
  expect(stream.connection).toBe('c2')
  // By itself it would have come after 4,998 ms; the stream was back after 4,100.
  expect(soonAt - begun).toBeLessThan(4_200)
  expect(late.end).toBe('pending')
  await clock.advance(44_999)
  expect(late.end).toBe('pending')
  await clock.advance(1)
  expect([late.end, posts.requests.length]).toEqual(['accepted', 4])
  await outbox.close()
  stream.close()
  vi.restoreAllMocks()
})
