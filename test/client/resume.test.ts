import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/connect.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { bytes, CUT, collect, end, event, gap, HANG, type Part, ready, scripted, settle, states } from './scripted.js'

const url = 'https://example.com/events'

const LOG = Array.from({ length: 200 }, (_, i) => ({
  data: `${i + 1}`,
  id: `e.${(i + 1).toString(36)}.${((i * 7919 + 13) % 1_296).toString(36)}`,
}))
const EVERYTHING = LOG.map(({ data }) => data)
const frames = (from: number) => LOG.slice(from).map(({ data, id }) => event(data, id, 'tick'))
const placeOf = (cursor: string | null) => (cursor === 'e.0.0' ? 0 : LOG.findIndex(({ id }) => id === cursor) + 1)

/** A server that keeps the log and honours cursors. */
function resumeFrom(cursor: string | null): string {
  if (cursor === null) return ready({}, 'e.0.0') + frames(0).join('')
  const place = placeOf(cursor)
  if (place === 0 && cursor !== 'e.0.0') throw new Error(`unknown cursor ${cursor}`)
  return ready({ resumed: 'ok' }, cursor) + frames(place).join('')
}

test('cut at any byte, 200 events arrive in order, once each', { timeout: 60_000 }, async () => {
  const first = bytes(resumeFrom(null))
  const inOrder = EVERYTHING.join()
  for (let cut = 0; cut <= first.length; cut++) {
    const clock = virtualClock()
    const server = scripted(({ number, cursor, answer }) => {
      // A connection that dies before it is ready left no cursor, and starts over.
      if (number === 1) return answer(cut % 2 ? [first.subarray(0, cut)] : [first.subarray(0, cut), CUT])
      return answer([resumeFrom(cursor), end('sealed')])
    })
    const got = collect(connect(url, { fetch: server.fetch, clock }))
    await clock.advance(4_000)
    // Seven thousand runs: the slow, telling comparison only where there is something to tell.
    if (got.texts.join() !== inOrder || !got.done) expect(got.texts, `cut at byte ${cut}`).toEqual(EVERYTHING)
    if (server.requests.length !== 2 || clock.pending + server.open !== 0) expect.fail(`something is left after ${cut}`)
  }
})

test('a gap is announced exactly once, wherever the response that opens with it is cut', async () => {
  // The first hundred events are gone, and this client stands at the tenth.
  const start = LOG[9]?.id ?? ''
  const hole = LOG[99]?.id ?? ''
  const serve = (cursor: string | null) => {
    if (placeOf(cursor) >= 100) return resumeFrom(cursor)
    return ready({ resumed: 'gap' }) + gap(hole, 'expired', 90) + frames(100).join('')
  }
  const opening = bytes(ready({ resumed: 'gap' }) + gap(hole, 'expired', 90) + frames(100).slice(0, 2).join(''))
  for (let cut = 0; cut <= opening.length; cut++) {
    const clock = virtualClock()
    const server = scripted(({ number, cursor, answer }) =>
      number === 1 ? answer([opening.subarray(0, cut), CUT]) : answer([serve(cursor), end('sealed')]),
    )
    const got = collect(connect(url, { fetch: server.fetch, clock, cursor: start }))
    await clock.advance(4_000)
    expect(got.texts).toEqual(['[expired]', ...EVERYTHING.slice(100)])
    expect(got.items[0]).toEqual({ type: 'gap', id: hole, reason: 'expired', missed: 90 })
  }
})

test('the id of a ready that announces a gap moves no cursor', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) =>
    number === 1 ? answer([ready({ resumed: 'gap' }, 'behind-the-hole'), CUT]) : answer([HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock, cursor: 'mine' })
  await clock.advance(4_000)
  expect(server.requests[1]?.cursor).toBe('mine')
  stream.close()
})

test('in pieces of one byte, characters and frames stay whole', async () => {
  const text = ready({}, 'e.0.0') + event('ä€😀', '1', 'grüße') + event('a\nb', '2') + end('sealed')
  const server = scripted(({ answer }) => answer([...bytes(text)].map((byte) => Uint8Array.of(byte))))
  const got = collect(connect(url, { fetch: server.fetch, clock: virtualClock() }))
  await settle(20)
  expect(got.items.map((item) => ({ ...item }))).toEqual([
    { type: 'event', id: '1', event: 'grüße', data: 'ä€😀' },
    { type: 'event', id: '2', event: 'message', data: 'a\nb' },
  ])
  expect(got.done).toBe(true)
})

test('an item that has no id carries the last one, and an empty id takes it back', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) =>
    answer(number === 1 ? [event('a', '1'), event('b'), 'id:\ndata: c\n\n', event('d'), CUT] : [HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(3_000)
  expect(got.items.map((item) => item.id)).toEqual(['1', '1', '', ''])
  expect(server.requests[1]?.cursor).toBeNull()
  expect(stream.cursor).toBeNull()
  stream.close()
})

test('the handled cursor follows the consumer, the received one the wire', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) =>
    number === 1
      ? answer([ready({}, 'e.0'), event('a', 'e.1'), event('b', 'e.2'), 'id: e.3\n\n', 'id: e.4\ndata: c\n', CUT])
      : answer([ready({ resumed: 'ok' }, 'e.3'), HANG]),
  )
  const stream = connect(url, { fetch: server.fetch, clock })
  const iterator = stream[Symbol.asyncIterator]()
  expect(stream.cursor).toBeNull()
  await clock.advance(3_000)
  expect(server.requests[1]?.cursor).toBe('e.3')
  expect(stream.cursor).toBe('e.0')
  await iterator.next()
  expect(stream.cursor).toBe('e.0')
  await iterator.next()
  expect(stream.cursor).toBe('e.1')
  void iterator.next()
  expect(stream.cursor).toBe('e.3')
  stream.close()
})

test('a stream that is left keeps the cursor before the item in hand', async () => {
  const server = scripted(({ answer }) => answer([ready({}, 'e.0'), event('a', 'e.1'), event('b', 'e.2'), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock() })
  for await (const item of stream) {
    if (item.type === 'event' && item.data === 'b') break
  }
  expect(stream.cursor).toBe('e.1')
  expect(stream.state).toBe('closed')
})

test('the cursor option is where the first attempt resumes', async () => {
  const server = scripted(({ answer }) => answer([HANG]))
  const stream = connect(`${url}?a=b#c`, { fetch: server.fetch, clock: virtualClock(), cursor: 'e.7', from: 'last:5' })
  expect(stream.cursor).toBe('e.7')
  await settle()
  expect(server.requests[0]?.headers.get('last-event-id')).toBe('e.7')
  expect(server.requests[0]?.url).toBe(`${url}?a=b&from=last%3A5#c`)
  stream.close()
})

test('a cursor that was stripped on the way is asked for by query, and that response dropped', async () => {
  const clock = virtualClock()
  const { changes, onState } = states()
  const server = scripted(({ url: asked, number, answer }) => {
    const byQuery = new URL(asked).searchParams.get('lastEventId')
    if (number === 1) return answer([ready({}, 'e.0'), event('a', 'e.1 &ü'), CUT])
    if (byQuery === null) return answer([ready({}, 'e.9'), event('lost', 'e.10'), HANG])
    return answer([ready({ resumed: 'ok' }, byQuery), event('b', 'e.2'), CUT])
  })
  const stream = connect(`${url}?x=1`, { fetch: server.fetch, clock, onState })
  const got = collect(stream)
  await clock.advance(1_100)
  expect(got.texts).toEqual(['a', 'b'])
  expect(server.requests.map((request) => new URL(request.url).search)).toEqual([
    '?x=1',
    '?x=1',
    `?x=1&lastEventId=${encodeURIComponent('e.1 &ü')}`,
  ])
  expect(server.requests[2]?.headers.has('last-event-id')).toBe(false)
  // At once, without a wait, and by query from then on.
  expect(changes.map(({ state }) => state).slice(-4, -1)).toEqual(['connecting', 'connecting', 'open'])
  await clock.advance(1_100)
  expect(server.requests).toHaveLength(4)
  expect(new URL(server.requests[3]?.url ?? '').searchParams.get('lastEventId')).toBe('e.2')
  expect(server.open).toBe(0)
  stream.close()
})

test('a cursor that is lost in the query too is announced as a gap, first of all', async () => {
  const server = scripted(({ answer }) => answer([ready({}, 'e.9'), event('b', 'e.10'), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), cursor: 'e.1' })
  const got = collect(stream)
  await settle()
  expect(server.requests).toHaveLength(2)
  expect(got.texts).toEqual(['[invalid]', 'b'])
  expect(got.items[0]).toEqual({ type: 'gap', id: 'e.9', reason: 'invalid', missed: null })
  stream.close()
})

test('a server that never resumes is announced once while it says nothing, and met calmly', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([ready({}), CUT]))
  const stream = connect(url, { fetch: server.fetch, clock, cursor: 'e.1' })
  const got = collect(stream)
  await clock.advance(600_000)
  expect(got.texts).toEqual(['[invalid]'])
  expect(server.requests.length).toBeLessThanOrEqual(65)
  expect(stream.cursor).toBe('e.1')
  stream.close()
})

test('a ready that does not speak of resuming is no stripped cursor', async () => {
  const server = scripted(({ answer }) => answer([ready({ resumed: undefined }), event('b', 'e.10'), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock(), cursor: 'e.1' })
  const got = collect(stream)
  await settle()
  expect(server.requests).toHaveLength(1)
  expect(got.texts).toEqual(['b'])
  stream.close()
})

test('ids beyond Latin-1 travel as UTF-8', async () => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) => (number === 1 ? answer([event('a', 'ä…😀'), CUT]) : answer([HANG])))
  const stream = connect(url, { fetch: server.fetch, clock })
  collect(stream)
  await clock.advance(1_100)
  expect(server.requests[1]?.cursor).toBe('ä…😀')
  stream.close()
})

test.each([
  ['a control character', 'a\u0001b'],
  ['a delete', 'a\u007F'],
  ['a space before', ' a'],
  ['a space behind', 'a '],
  ['more than 8 KiB', 'ü'.repeat(4_097)],
])('an id with %s cannot travel: none is sent, and the gap is announced', async (_, id) => {
  const clock = virtualClock()
  const server = scripted(({ number, answer }) => {
    if (number === 1) return answer([event('a', id), CUT])
    return answer([ready({}, 'e.9'), event('b', 'e.10'), HANG])
  })
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(1_100)
  expect(server.requests[1]?.cursor).toBeNull()
  expect(got.texts).toEqual(['a', '[invalid]', 'b'])
  expect(got.items[1]).toMatchObject({ id: 'e.9' })
  stream.close()
})

test('an id of exactly 8 KiB travels', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([HANG]))
  const stream = connect(url, { fetch: server.fetch, clock, cursor: 'ü'.repeat(4_096) })
  await settle()
  expect(server.requests[0]?.cursor).toHaveLength(4_096)
  stream.close()
})

test('a foreign server that gives ids which cannot travel is announced on each return, and not hammered', async () => {
  const clock = virtualClock()
  const server = scripted(({ answer }) => answer([event('a', 'a\u0001'), CUT]))
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(10_000)
  expect(got.texts.slice(0, 5)).toEqual(['a', '[invalid]', 'a', '[invalid]', 'a'])
  expect(server.requests.length).toBeLessThanOrEqual(11)
  stream.close()
})

test('control frames are events to a server that never said it is ready', async () => {
  const parts: Part[] = [
    event('a', '1'),
    gap('2'),
    end('sealed'),
    event('x', '3', 'stream:other'),
    ready({}, '4'),
    HANG,
  ]
  const server = scripted(({ answer }) => answer(parts))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock() })
  const got = collect(stream)
  await settle()
  expect(got.items.map((item) => item.type === 'event' && item.event)).toEqual([
    'message',
    'stream:gap',
    'stream:end',
    'stream:other',
    'stream:ready',
  ])
  stream.close()
})

test('control frames of a steady server that this client does not know are passed over', async () => {
  const parts = [
    ready({}, '0'),
    event('x', '1', 'stream:other'),
    event('', undefined, 'stream:heartbeat'),
    ready({}, '2'),
  ]
  const server = scripted(({ answer }) => answer([...parts, event('a'), HANG]))
  const stream = connect(url, { fetch: server.fetch, clock: virtualClock() })
  const got = collect(stream)
  await settle()
  expect(got.items).toMatchObject([{ data: 'a', id: '2' }])
  stream.close()
})

test('control frames with nonsense in them keep their meaning', async () => {
  const clock = virtualClock()
  const parts = [
    event('{', '0', 'stream:ready'),
    event('no json', '1', 'stream:gap'),
    event('[]', undefined, 'stream:end'),
  ]
  const server = scripted(({ number, answer }) => answer(number === 1 ? parts : [HANG]))
  const stream = connect(url, { fetch: server.fetch, clock })
  const got = collect(stream)
  await clock.advance(1_100)
  expect(got.texts).toEqual(['[invalid]'])
  expect(server.requests[1]?.cursor).toBe('1')
  stream.close()
})

test('an answer that continues from another place than was asked for is dropped unread, and asked again by query', async () => {
  const clock = virtualClock()
  const asked: (string | null)[] = []
  const server = scripted(({ number, cursor, answer }) => {
    asked.push(cursor)
    if (number === 1) return answer([ready({}, 'e.0.0') + frames(0).slice(0, 3).join(''), CUT])
    // A stored answer to somebody else's question.
    if (number === 2) return answer([ready({ resumed: 'ok' }, LOG[0]?.id ?? '') + frames(1).slice(0, 2).join('')])
    return answer([ready({ resumed: 'ok' }, cursor ?? '') + frames(3).slice(0, 2).join(''), end('sealed')])
  })
  const got = collect(connect(url, { fetch: server.fetch, clock }))
  await clock.advance(10_000)
  expect(got.items.map((item) => ('data' in item ? item.data : item.reason))).toEqual(['1', '2', '3', '4', '5'])
  expect(asked).toEqual([null, LOG[2]?.id, LOG[2]?.id])
})

test('a client that ends before its first item, and saved where its stream began, misses nothing', async () => {
  await using hub = createHub({ store: memoryStore() })
  const handler = sse(hub, { stream: () => 's' })
  const options = { fetch: (input: RequestInfo | URL, init?: RequestInit) => handler(new Request(input, init)) }
  const before = connect(url, options)
  await before.ready
  const saved = before.cursor
  before.close()
  await hub.publish('s', { data: 'while it was away' })
  await using after = connect(url, { ...options, cursor: saved })
  const { value } = await after[Symbol.asyncIterator]().next()
  expect(value).toMatchObject({ type: 'event', data: 'while it was away' })
})
