import { once } from 'node:events'
import { connect, type TcpNetConnectOpts } from 'node:net'
import { describe, expect, test } from 'vitest'
import { formatCursor, parseCursor } from '../../src/protocol/cursor.js'
import { numbers, publishMany, type World, world } from '../support/world.js'

const MAX_AGE_MS = 60_000

/** How a stream came to be, and where it ends. */
const streams = {
  full: { published: 50, first: 31, head: 50 },
  empty: { published: 0, first: 1, head: 0 },
  'expired and quiet': { published: 50, first: 51, head: 50 },
} as const

async function prepare(it: World, kind: keyof typeof streams): Promise<string[]> {
  const opening = await it.read('/s')
  await opening.until(({ frames }) => frames.length > 0)
  const cursors = [opening.frames[0]?.id ?? '', ...(await publishMany(it.hub, 's', streams[kind].published)).slice(1)]
  opening.destroy()
  await it.served.idle()
  if (kind === 'expired and quiet') await it.clock.advance(MAX_AGE_MS)
  return cursors
}

/** A cursor like `cursor`, changed. */
function forged(cursor: string, change: { offset?: number; tag?: number; epoch?: string }): string {
  const place = parseCursor(cursor)
  if (!place) throw new Error(`no cursor: ${cursor}`)
  return formatCursor({ ...place, ...change, offset: place.offset + (change.offset ?? 0) })
}

interface Row {
  readonly name: string
  cursor(cursors: readonly string[]): string
  readonly resumed: 'ok' | 'gap'
  readonly gap?: { readonly reason: string; readonly missed: number | null }
  /** The first number that follows. */
  readonly next: number
  /** Where the stream starts from, for the id; a gap's is the place after the hole. */
  readonly place: number
}

function at(offset: number): Row['cursor'] {
  return (cursors) => cursors[offset] ?? ''
}

function rowsOf({ first, head }: { first: number; head: number }): Row[] {
  const rows: Row[] = []
  const ok = (name: string, offset: number) =>
    rows.push({ name, cursor: at(offset), resumed: 'ok', next: offset + 1, place: offset })
  const gap = (name: string, cursor: Row['cursor'], reason: string, missed: number | null, after: number) =>
    rows.push({ name, cursor, resumed: 'gap', gap: { reason, missed }, next: after + 1, place: after })
  const wrong = (offset: number): Row['cursor'] => {
    return (cursors) => forged(cursors[offset] ?? '', { tag: 12_345 })
  }
  if (first > 2) gap('first−2', at(first - 2), 'expired', 1, first - 1)
  if (first > 11) gap('first−11', at(first - 11), 'expired', 10, first - 1)
  if (first > 1) gap('the place before the first ever', at(0), 'expired', first - 1, first - 1)
  ok('first−1', first - 1)
  if (first <= head) ok('first', first)
  if (first < head) ok('head−1', head - 1)
  ok('head', head)
  gap('head+1', (cursors) => forged(cursors[head] ?? '', { offset: 1 }), 'ahead', null, head)
  gap('head+1000', (cursors) => forged(cursors[head] ?? '', { offset: 1_000 }), 'ahead', null, head)
  gap('another epoch', (cursors) => forged(cursors[head] ?? '', { epoch: 'other' }), 'epoch', null, first - 1)
  gap(
    'another epoch, far ahead',
    (cursors) => forged(cursors[head] ?? '', { epoch: 'other', offset: 1_000 }),
    'epoch',
    null,
    first - 1,
  )
  gap('an unreadable cursor', () => '1763740000000', 'invalid', null, head)
  gap('2 KiB of a cursor', () => 'x'.repeat(2_048), 'invalid', null, head)
  gap('head with another tag', wrong(head), 'diverged', null, head)
  gap('first−1 with another tag', wrong(first - 1), 'diverged', null, head)
  if (first < head) gap('head−1 with another tag', wrong(head - 1), 'diverged', null, head)
  // Rule 4 comes before rule 5: what is trimmed cannot be compared.
  if (first > 2) gap('first−2 with another tag', wrong(first - 2), 'expired', 1, first - 1)
  return rows
}

async function checkRow(it: World, row: Row, cursors: readonly string[], head: number): Promise<void> {
  const reader = await it.read('/s', { cursor: row.cursor(cursors) })
  await reader.until(({ frames }) => frames.length > (row.gap ? 1 : 0))
  await it.hub.publish('s', { data: String(head + 1) })
  await reader.until(({ events }) => events.at(-1) === String(head + 1))

  const [ready, second] = reader.frames
  expect(ready).toMatchObject({ event: 'stream:ready', id: row.gap ? undefined : cursors[row.place] })
  expect(reader.json('stream:ready').resumed).toBe(row.resumed)
  if (row.gap) {
    expect(second).toMatchObject({ event: 'stream:gap', id: cursors[row.place] })
    expect(reader.json('stream:gap')).toEqual(row.gap)
  }
  expect(reader.names.filter((name) => name === 'stream:gap')).toHaveLength(row.gap ? 1 : 0)
  expect(reader.events).toEqual(numbers(row.next, head + 1))
  expect(it.hub.stats().gaps).toBe(row.gap ? 1 : 0)
}

for (const [kind, stream] of Object.entries(streams)) {
  describe.each(rowsOf(stream))(`on a stream that is ${kind}, from $name`, (row) => {
    test.each(['cold', 'warm'])(`the verdict is ${row.gap?.reason ?? row.resumed} (%s)`, async (warmth) => {
      await using it = await world({ store: { maxEvents: 20, maxAgeMs: MAX_AGE_MS } })
      const cursors = await prepare(it, kind as keyof typeof streams)
      // A reader that is there keeps the stream's end in this process.
      const other = warmth === 'warm' ? await it.hub.subscribe('s') : undefined
      await checkRow(it, row, cursors, stream.head)
      other?.close()
    })
  })
}

test('without a cursor the stream is new, and its first frame carries the place it starts from', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 's', 3)
  const reader = await it.read('/s')
  await it.hub.publish('s', { data: '4' })
  await reader.until(({ events }) => events.length > 0)
  expect(reader.frames[0]).toMatchObject({ event: 'stream:ready', id: cursors[3] })
  expect(reader.json('stream:ready').resumed).toBe('new')
  expect(reader.events).toEqual(['4'])
})

test('the cursor of ready resumes a connection that died before its first event', async () => {
  await using it = await world()
  await publishMany(it.hub, 's', 3)
  const first = await it.read('/s')
  await first.until(({ frames }) => frames.length > 0)
  first.destroy()
  await it.served.idle()
  await publishMany(it.hub, 's', 2, 4)
  const second = await it.read('/s', { cursor: first.frames[0]?.id })
  await second.until(({ events }) => events.length === 2)
  expect(second.names).toEqual(['stream:ready', 'message', 'message'])
  expect(second.events).toEqual(['4', '5'])
})

test('an unreadable cursor continues as a new client would, at `from`', async () => {
  await using it = await world({ stream: { from: 'last:2' } })
  await publishMany(it.hub, 's', 5)
  const reader = await it.read('/s', { cursor: 'what?' })
  await reader.until(({ events }) => events.length === 2)
  expect(reader.json('stream:gap')).toEqual({ reason: 'invalid', missed: null })
  expect(reader.events).toEqual(['4', '5'])
})

test('the header wins over the query, and an empty header leaves it to the query', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 's', 5)
  const query = `/s?lastEventId=${cursors[2]}`
  const byQuery = await it.read(query)
  const byEmpty = await it.read(query, { cursor: '' })
  const byHeader = await it.read(query, { cursor: cursors[4] })
  await Promise.all([byQuery, byEmpty].map((reader) => reader.until(({ events }) => events.length === 3)))
  await byHeader.until(({ events }) => events.length === 1)
  expect(byQuery.events).toEqual(['3', '4', '5'])
  expect(byEmpty.events).toEqual(['3', '4', '5'])
  expect(byHeader.events).toEqual(['5'])
})

test.each([
  ['2 KiB', Buffer.from('x'.repeat(2_048))],
  ['binary', Buffer.from([0xff, 0x80, 0xc3, 0x28, 0xfe])],
  ['UTF-8', Buffer.from('k3f9.ä.😀')],
  ['a cursor with a tab in it', Buffer.from('k3f9\t.1.1')],
])('a Last-Event-ID of %s is a gap `invalid` and nothing worse', async (_, value) => {
  await using it = await world()
  const socket = connect({ ...it.served.address, host: '127.0.0.1' } as TcpNetConnectOpts)
  socket.write(
    Buffer.concat([Buffer.from('GET /s HTTP/1.1\r\nhost: x\r\nlast-event-id: '), value, Buffer.from('\r\n\r\n')]),
  )
  let text = ''
  while (!text.includes('stream:gap')) text += (await once(socket, 'data'))[0]
  expect(text).toContain('HTTP/1.1 200')
  expect(text).toContain('"reason":"invalid"')
  socket.destroy()
})

test('a cursor of one stream is of no use in another', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 'a', 3)
  await publishMany(it.hub, 'b', 3)
  const reader = await it.read('/b', { cursor: cursors[2] })
  await reader.until(({ events }) => events.length === 3)
  expect(reader.json('stream:gap')).toEqual({ reason: 'epoch', missed: null })
})

test('the store restarts empty: one gap, then the new events from their first', async () => {
  await using old = await world()
  const cursors = await publishMany(old.hub, 's', 5)
  await using it = await world()
  await publishMany(it.hub, 's', 3)
  const reader = await it.read('/s', { cursor: cursors[5] })
  await reader.until(({ events }) => events.length === 3)
  expect(reader.names).toEqual(['stream:ready', 'stream:gap', 'message', 'message', 'message'])
  expect(reader.json('stream:gap')).toEqual({ reason: 'epoch', missed: null })
  const again = await it.read('/s', { cursor: reader.frames.at(-1)?.id })
  await again.until(({ frames }) => frames.length > 0)
  expect(again.json('stream:ready').resumed).toBe('ok')
})
