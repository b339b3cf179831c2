import { formatCursor, parseCursor } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { Appended } from '../protocol/store.js'
import { check, equal } from './conformance.js'
import { numbers, type StoreStatement } from './store-world.js'

const NASTY = ['', ' ', '\n', 'a\r\nb\rc\n', '{"json":"\\u0000"}', 'ä漢😀\u200d\ufeff', "'; --", 'x'.repeat(100_000)]

/** Appending: places, tags, keys, seals. */
export const logStatements: readonly StoreStatement[] = [
  {
    name: 'open creates the record of a stream: offset 0, tag 0, nothing retained',
    needs: [],
    async run({ store, stream }) {
      const view = await store.open(stream)
      const { epoch } = view
      equal(view, { epoch, first: 1, firstTag: 0, head: 0, headTag: 0, sealed: false }, 'the view of a new stream')
      equal((await store.open(stream)).epoch, epoch, 'the epoch at the second open')
      const page = await store.read(stream, 0, { limit: 10 })
      equal(page, { ...view, tag: 0, events: [] }, 'the page of a new stream')
    },
  },
  {
    name: 'append creates the record of a stream that has none',
    needs: [],
    async run(world) {
      const [place] = await world.append(['1'])
      const { epoch, head } = await world.store.open(world.stream)
      equal({ epoch: place?.epoch, offset: place?.offset }, { epoch, offset: head }, 'the place of the first event')
      equal(head, 1, 'the head after one event')
    },
  },
  {
    name: 'an epoch and a tag fit a cursor, and every stream has an epoch of its own',
    needs: [],
    async run(world) {
      const epochs = new Set<string>()
      for (let n = 0; n < 8; n++) {
        const [place] = await world.append(['x'], { stream: `${world.stream}-${n}` })
        check(place !== undefined, 'Expected append to answer with a place')
        const { epoch, offset, tag } = place
        const cursor = formatCursor(place)
        equal(parseCursor(cursor), { epoch, offset, tag }, `what is read from the cursor ${cursor}`)
        check(cursor.length <= 64, `Expected a cursor of at most 64 bytes, got ${cursor.length}: ${cursor}`)
        epochs.add(epoch)
      }
      equal(epochs.size, 8, 'the number of epochs of 8 streams')
    },
  },
  {
    name: 'offsets are dense: each event gets the next one',
    needs: [],
    async run(world) {
      for (let n = 1; n <= 40; n++) {
        const [place] = await world.append([String(n)])
        equal(place?.offset, n, 'the offset of the next event')
        equal((await world.view()).head, n, 'the head')
      }
    },
  },
  {
    name: 'append answers with the place of each event of a batch, in order, as it is read back',
    needs: [],
    async run(world) {
      await world.append(['1', '2'])
      const places = await world.append(['3', '4', '5'])
      const { epoch, events } = await world.read(2, 10)
      equal(
        places.map((place) => ({ ...place, previousTag: undefined })),
        events.map(({ offset, tag }) => ({ epoch, offset, tag, duplicate: false, previousTag: undefined })),
        'the places of a batch',
      )
      equal(
        events.map(({ data }) => data),
        ['3', '4', '5'],
        'the order of a batch',
      )
    },
  },
  {
    name: 'what is read is what was appended, to the last character',
    needs: [],
    async run({ store, stream }) {
      for (const [index, data] of NASTY.entries()) {
        const event = index % 2 === 0 ? undefined : `näme ${index}`
        await store.append(stream, [{ event, data, key: undefined }])
        const page = await store.read(stream, index, { limit: 1 })
        const [stored] = page?.events ?? []
        equal({ event: stored?.event, data: stored?.data }, { event, data }, `the event at ${index + 1}`)
        check(stored?.data === data, `Expected the data at ${index + 1} to be given back as they were`)
      }
    },
  },
  {
    name: 'NUL in data is given back as it was',
    needs: [],
    async run({ store, stream }) {
      const texts = ['\0', 'a\0b', '\0\0end', '\\0 \\u0000 \0']
      await store.append(
        stream,
        texts.map((data) => ({ event: undefined, data, key: undefined })),
      )
      const page = await store.read(stream, 0, { limit: 10 })
      for (const [index, data] of texts.entries()) {
        const got = page?.events[index]?.data
        check(got === data, `Expected ${JSON.stringify(data)} to be given back as it was, got ${JSON.stringify(got)}`)
      }
    },
  },
  {
    name: 'every event has a random tag, above 0, that is stored with it',
    needs: [],
    async run(world) {
      const tags = new Set<number>()
      for (let n = 0; n < 8; n++) {
        const places = await world.append(numbers(1, 8))
        const { events } = await world.read((places[0]?.offset ?? 0) - 1, 8)
        equal(
          events.map(({ tag }) => tag),
          places.map(({ tag }) => tag),
          'the stored tags',
        )
        for (const { tag } of places) {
          check(Number.isInteger(tag) && tag > 0 && tag < 2 ** 32, `Expected a tag from 1 to 2^32 - 1, got ${tag}`)
          tags.add(tag)
        }
      }
      const others = await world.append(numbers(1, 64), { stream: `${world.stream}-other` })
      for (const { tag } of others) tags.add(tag)
      check(tags.size >= 127, `Expected 128 random tags of two streams, got ${tags.size} different ones`)
    },
  },
  {
    name: 'previousTag is the tag of the event before, and 0 before the first',
    needs: [],
    async run(world) {
      const places: Appended[] = []
      for (const size of [1, 3, 1, 2]) places.push(...(await world.append(numbers(1, size))))
      equal(
        places.map(({ previousTag }) => previousTag),
        [0, ...places.slice(0, -1).map(({ tag }) => tag)],
        'previousTag of each event',
      )
    },
  },
  {
    name: 'streams do not share offsets, events or keys',
    needs: [],
    async run(world) {
      const other = `${world.stream}-other`
      await world.append(['1', '2', '3'])
      await world.appendKeyed('key', 'mine')
      const place = await world.appendKeyed('key', 'theirs', world.store, other)
      equal(
        { ...place, epoch: 0, tag: 0 },
        { epoch: 0, offset: 1, tag: 0, duplicate: false, previousTag: 0 },
        'the other place',
      )
      equal(
        (await world.read(0, 10, { stream: other })).events.map(({ data }) => data),
        ['theirs'],
        'the other stream',
      )
      equal((await world.view()).head, 4, 'the head of the first stream')
    },
  },
  {
    name: 'an event whose key is known is not stored again: the answer is the place of the first',
    needs: [],
    async run(world) {
      const first = await world.appendKeyed('key', 'first')
      await world.append(['between'])
      const again = await world.appendKeyed('key', 'second')
      const { epoch, offset, tag, duplicate } = again
      equal({ epoch, offset, tag, duplicate }, { ...place(first), duplicate: true }, 'the answer to the second append')
      const { events } = await world.read(0, 10)
      equal(
        events.map(({ data }) => data),
        ['first', 'between'],
        'what is stored',
      )
    },
  },
  {
    name: 'a key that comes twice in one batch is stored once, and the rest of the batch is dense',
    needs: [],
    async run({ store, stream }) {
      const events = ['a', 'b', 'a', 'c'].map((key, index) => ({ event: undefined, data: `${key}${index}`, key }))
      const places = await store.append(stream, events)
      equal(
        places.map(({ offset, duplicate }) => [offset, duplicate]),
        [
          [1, false],
          [2, false],
          [1, true],
          [3, false],
        ],
        'the places of the batch',
      )
    },
  },
  {
    name: 'a key is remembered as long as its event is retained, and forgotten with it',
    needs: ['maxEvents'],
    async run(world) {
      const first = await world.appendKeyed('key', 'x')
      await world.append(numbers(2, 8))
      equal((await world.appendKeyed('key', 'x')).duplicate, true, 'duplicate, while the event is retained')
      await world.trimBeyond(first.offset)
      const { head } = await world.view()
      const anew = await world.appendKeyed('key', 'x')
      equal([anew.duplicate, anew.offset], [false, head + 1], 'duplicate and offset, once the event is gone')
    },
  },
  {
    name: 'seal completes a stream, once and for all: the view says so, and append is rejected with SEALED',
    needs: [],
    async run(world) {
      const { store, stream } = world
      await world.append(['1', '2'])
      const before = await world.view()
      for (let n = 0; n < 2; n++) equal(await store.seal(stream), { ...before, sealed: true }, 'what seal answers')
      equal(await world.view(), { ...before, sealed: true }, 'the view that is read')
      equal(await store.open(stream), { ...before, sealed: true }, 'the view that is opened')
      const error = await rejection(async () => store.append(stream, [{ event: undefined, data: '3', key: undefined }]))
      check(
        error instanceof SseError && error.code === 'SEALED',
        `Expected append to a sealed stream to be rejected with SseError SEALED, got ${String(error)}`,
      )
      equal(
        (await world.read(0, 10)).events.map(({ data }) => data),
        ['1', '2'],
        'what is stored',
      )
    },
  },
  {
    name: 'a stream that never had an event can be sealed',
    needs: [],
    async run({ store, stream }) {
      const { head, sealed } = await store.seal(stream)
      equal({ head, sealed }, { head: 0, sealed: true }, 'the view')
      equal((await store.read(stream, 0, { limit: 1 }))?.sealed, true, '`sealed` of the page')
    },
  },
]

function place({ epoch, offset, tag }: Appended) {
  return { epoch, offset, tag }
}

async function rejection(run: () => Promise<unknown>): Promise<unknown> {
  try {
    await run()
  } catch (error) {
    return error
  }
  return undefined
}
