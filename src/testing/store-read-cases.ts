import type { Appended } from '../protocol/store.js'
import { check, equal } from './conformance.js'
import { numbers, type StoreStatement, type StoreWorld } from './store-world.js'

/** Reading, retention, and incarnations. */
export const readStatements: readonly StoreStatement[] = [
  {
    name: 'a stream that is not there reads as null, and reading makes no record',
    needs: [],
    async run({ store, stream }) {
      for (let n = 0; n < 2; n++) equal(await store.read(stream, n, { limit: 10 }), null, 'the page of no stream')
    },
  },
  {
    name: 'limit 0 reads the view alone, and the tag at the place',
    needs: [],
    async run(world) {
      const places = await world.append(numbers(1, 5))
      const { epoch, tag: headTag } = last(places)
      const view = { epoch, first: 1, firstTag: 0, head: 5, headTag, sealed: false }
      const page = await world.store.read(world.stream, 2, { limit: 0 })
      equal(page, { ...view, tag: places[1]?.tag, events: [] }, 'the page')
      equal(await world.store.open(world.stream), view, 'the view that open answers with')
    },
  },
  {
    name: 'a page begins after the place that was asked for, and holds no more than limit events',
    needs: [],
    async run(world) {
      await world.append(numbers(1, 7))
      for (let offset = 0; offset <= 7; offset++) {
        for (const limit of [1, 3, 100]) {
          const { events } = await world.read(offset, limit)
          equal(
            events.map(({ data }) => data),
            numbers(offset + 1, Math.min(7, offset + limit)),
            `the data of read(${offset}, { limit: ${limit} })`,
          )
        }
      }
    },
  },
  {
    name: 'maxBytes bounds a page, but one event is always in it',
    needs: [],
    async run({ store, stream }) {
      const data = 'x'.repeat(1_000)
      for (let n = 0; n < 6; n++) await store.append(stream, [{ event: undefined, data, key: undefined }])
      const count = async (maxBytes: number) =>
        (await store.read(stream, 1, { limit: 5, maxBytes }))?.events.length ?? 0
      equal(await count(1), 1, 'the number of events within 1 byte')
      equal(await count(1_000_000), 5, 'the number of events within 1,000,000 bytes')
      const some = await count(2_500)
      check(some >= 1 && some <= 3, `Expected 1 to 3 events of 1,000 bytes within 2,500, got ${some}`)
    },
  },
  {
    name: 'a place beyond the head has no tag, and nothing follows it',
    needs: [],
    async run(world) {
      await world.append(numbers(1, 3))
      for (const offset of [4, 5, 1_000]) {
        const { tag, events, head } = await world.read(offset, 10)
        equal({ tag, events, head }, { tag: undefined, events: [], head: 3 }, `what read(${offset}) has`)
      }
    },
  },
  {
    name: 'the tag is known at every place from first−1 to head, and at no other',
    needs: ['maxEvents'],
    async run(world) {
      const places = [...(await world.append(numbers(1, 5)))]
      await tagsAreKnown(world, places)
      places.push(...(await world.trimBeyond(3)))
      await tagsAreKnown(world, places)
    },
  },
  {
    name: 'retention keeps the newest: first moves on, and firstTag goes with it',
    needs: ['maxEvents'],
    async run(world) {
      const maxEvents = world.harness.maxEvents ?? 0
      check(maxEvents >= 8, `Expected a harness with \`maxEvents\` of at least 8, got ${maxEvents}`)
      const places = await appendSingly(world, maxEvents)
      equal((await world.view()).first, 1, `first, after \`maxEvents\` (${maxEvents}) events`)
      places.push(...(await world.trimBeyond(2)))
      const { first, firstTag, head, headTag } = await world.view()
      check(head - first + 1 >= maxEvents, `Expected ${maxEvents} events to be retained, got ${first} to ${head}`)
      equal(firstTag, places[first - 2]?.tag, 'firstTag')
      equal(headTag, last(places).tag, 'headTag')
      const { events } = await world.read(0, head)
      equal(
        events.map(({ data }) => data),
        numbers(first, head),
        'what is read from a place that is trimmed',
      )
    },
  },
  {
    name: 'events that are too old are gone, though nobody appends: first is head + 1, and the place is kept',
    needs: ['maxAgeMs', 'advance'],
    async run(world) {
      const places = await appendSingly(world, 5)
      await world.expire()
      const { epoch, tag } = last(places)
      const view = { epoch, first: 6, firstTag: tag, head: 5, headTag: tag, sealed: false }
      equal(await world.view(), view, 'the view that is read')
      equal(await world.store.open(world.stream), view, 'the view that is opened')
      await tagsAreKnown(world, places)
    },
  },
  {
    name: 'no offset is used twice, not even when everything was pruned',
    needs: ['maxAgeMs', 'advance'],
    async run(world) {
      const before = last(await appendSingly(world, 5))
      await world.expire()
      const [after] = await world.append(['6'])
      equal(
        { epoch: after?.epoch, offset: after?.offset, previousTag: after?.previousTag },
        { epoch: before.epoch, offset: 6, previousTag: before.tag },
        'the place of the first event after all were pruned',
      )
      check(after?.tag !== before.tag, 'Expected the new event to have a new tag')
      equal(
        (await world.read(5, 10)).events.map(({ data }) => data),
        ['6'],
        'what is read after the old head',
      )
    },
  },
  {
    name: 'a key is forgotten when its event is too old',
    needs: ['maxAgeMs', 'advance'],
    async run(world) {
      await world.appendKeyed('key', 'x')
      await world.expire()
      const { duplicate, offset } = await world.appendKeyed('key', 'x')
      equal({ duplicate, offset }, { duplicate: false, offset: 2 }, 'the answer to the second append')
    },
  },
  {
    name: 'the record of a sealed stream outlives its events',
    needs: ['maxAgeMs', 'advance'],
    async run(world) {
      const { epoch, tag } = last(await appendSingly(world, 2))
      await world.store.seal(world.stream)
      await world.expire()
      const view = { epoch, first: 3, firstTag: tag, head: 2, headTag: tag, sealed: true }
      equal(await world.view(), view, 'the view')
    },
  },
  {
    name: 'after a wipe the stream is another incarnation: a new epoch, from offset 0',
    needs: ['wipe'],
    async run(world) {
      const before = last(await world.append(numbers(1, 3)))
      await world.harness.wipe?.()
      const page = await world.store.read(world.stream, 3, { limit: 10 })
      check(page === null || page.epoch !== before.epoch, 'Expected the old record to be gone')
      const view = await world.store.open(world.stream)
      check(view.epoch !== before.epoch, 'Expected a new epoch after the wipe, got the old one')
      equal([view.head, view.headTag], [0, 0], 'the head and its tag after the wipe')
      const [after] = await world.append(['anew'])
      equal([after?.epoch, after?.offset], [view.epoch, 1], 'the place of the first event after the wipe')
    },
  },
  {
    name: 'what is appended to an older copy has the same epoch and other tags',
    needs: ['snapshot'],
    async run(world) {
      await world.append(['1', '2'])
      const restore = await world.harness.snapshot?.()
      const lost = last(await world.append(['3']))
      await restore?.()
      equal((await world.view()).head, 2, 'the head of the older copy')
      const anew = last(await world.append(['another 3']))
      equal([anew.epoch, anew.offset], [lost.epoch, lost.offset], 'epoch and offset')
      check(anew.tag !== lost.tag, `Expected another tag than that of the event that was lost, got ${anew.tag} again`)
    },
  },
  {
    name: 'every process sees what each of the others appended, in one order',
    needs: ['shared'],
    async run(world) {
      const stores = await world.stores(3)
      for (let n = 1; n <= 8; n++) {
        await world.append([String(n)], { to: stores[n % 3] ?? world.store })
        for (const from of stores) {
          const { events } = await world.read(0, 100, { from })
          equal(
            events.map(({ data }) => data),
            numbers(1, n),
            'what is stored',
          )
        }
      }
    },
  },
  {
    name: 'a key, an epoch and a seal are the same for every process',
    needs: ['shared'],
    async run(world) {
      const [one = world.store, two = world.store] = await world.stores(2)
      const { epoch } = await one.open(world.stream)
      equal((await two.open(world.stream)).epoch, epoch, 'the epoch')
      const first = await world.appendKeyed('key', 'x', one)
      const { offset, duplicate } = await world.appendKeyed('key', 'x', two)
      equal({ offset, duplicate }, { offset: first.offset, duplicate: true }, 'the answer to the same key')
      const both = await Promise.all([world.appendKeyed('at once', 'x', one), world.appendKeyed('at once', 'x', two)])
      equal(
        both.map(({ duplicate }) => duplicate).sort(),
        [false, true],
        'duplicate, of two appends with one key at once',
      )
      await one.seal(world.stream)
      equal((await two.open(world.stream)).sealed, true, '`sealed`')
    },
  },
]

/** One append for each event: a store may trim by the batch. */
async function appendSingly(world: StoreWorld, count: number): Promise<Appended[]> {
  const places: Appended[] = []
  for (const text of numbers(1, count)) places.push(...(await world.append([text])))
  return places
}

function last(places: readonly Appended[]): Appended {
  const place = places.at(-1)
  check(place !== undefined, 'Expected append to answer with a place, got none')
  return place
}

async function tagsAreKnown(world: StoreWorld, places: readonly Appended[]): Promise<void> {
  const { first, head } = await world.view()
  for (let offset = Math.max(0, first - 4); offset <= head + 2; offset++) {
    const page = await world.read(offset, 0)
    const known = offset === 0 ? 0 : places[offset - 1]?.tag
    const expected = offset >= first - 1 && offset <= head ? known : undefined
    equal(page.tag, expected, `the tag at ${offset}, first ${first}, head ${head},`)
  }
}
