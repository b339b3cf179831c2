import type { Place } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { Appended } from '../protocol/store.js'
import type { Subscription } from '../server/subscription.js'
import { check, equal } from './conformance.js'
import { cursorOf, numbers, placeOf, type StoreStatement, type StoreWorld } from './store-world.js'

/** What readers of a hub on the store are handed: all of it, or the announcement of a gap. */
export const readerStatements: readonly StoreStatement[] = [
  {
    name: 'the table of resumption holds on an empty stream',
    needs: [],
    async run(world) {
      await world.store.open(world.stream)
      await verdicts(world, [])
    },
  },
  {
    name: 'the table of resumption holds on a full stream, at every place',
    needs: [],
    async run(world) {
      await verdicts(world, await world.append(numbers(1, 5)))
    },
  },
  {
    name: 'the table of resumption holds on a trimmed stream, from first−2 to head+1',
    needs: ['maxEvents'],
    async run(world) {
      const places = await world.append(numbers(1, 5))
      await verdicts(world, [...places, ...(await world.trimBeyond(4))])
    },
  },
  {
    name: 'the table of resumption holds on a quiet stream whose events have all expired',
    needs: ['maxAgeMs', 'advance'],
    async run(world) {
      const places = await world.append(numbers(1, 5))
      await world.expire()
      await verdicts(world, places)
    },
  },
  {
    name: 'readers that join while others write are handed everything after their place',
    needs: [],
    async run(world) {
      const [, writer = world.store] = await world.stores(2)
      const hub = world.hub()
      const count = 40
      const join = async (delay: number) => {
        for (let n = 0; n < delay; n++) await world.moment()
        return world.join({ from: delay % 2 === 0 ? 'now' : 'earliest' }, hub)
      }
      const joins = Array.from({ length: 8 }, (_, reader) => join(reader * 5))
      for (let n = 1; n < count; n++) {
        await world.moment()
        await world.append([String(n)], { to: writer }) // beside the hub, which learns of it from the store alone
      }
      const reading = (await Promise.all(joins)).map((reader) => allOrAnnounced(world, reader, count))
      for (let n = 0; n < 10; n++) await world.moment()
      // However late a reader came, there is one more for it.
      await Promise.all([...reading, world.append([String(count)], { to: writer })])
    },
  },
  {
    name: 'what is trimmed while a reader is on its way becomes a gap, and nothing else is missing',
    needs: ['maxEvents'],
    async run(world) {
      const maxEvents = world.harness.maxEvents ?? 0
      await world.append(numbers(1, 5))
      const reader = await world.join({ from: 'earliest' })
      equal(await world.take(reader, 1, 'the replay'), ['1'], 'the first item')
      await world.trimBeyond(5 + maxEvents)
      const { head } = await world.view()
      const gaps = await allOrAnnounced(world, reader, head, 1)
      equal(gaps, ['expired'], 'the gaps')
    },
  },
  {
    name: 'a seal ends the readers once they have everything',
    needs: [],
    async run(world) {
      const [, other = world.store] = await world.stores(2)
      await world.append(['1', '2'])
      const reader = await world.join({ from: 'earliest' })
      await world.append(['3'], { to: other })
      await other.seal(world.stream)
      equal(await world.take(reader, 3, 'the rest'), ['1', '2', '3'], 'the items')
      equal((await world.settled(reader.next(), 'the end')).done, true, '`done` after the last event')
    },
  },
  {
    name: 'a store that is wiped while a reader is connected: the gap epoch, then what follows',
    needs: ['wipe'],
    async run(world) {
      await world.append(numbers(1, 3))
      const reader = await world.join({ from: 'earliest' })
      equal(await world.take(reader, 3, 'the replay'), numbers(1, 3), 'the items before the wipe')
      await world.harness.wipe?.()
      await world.append(['anew 1', 'anew 2'])
      const items = await world.take(reader, 3, 'what follows the wipe')
      equal(items, ['gap epoch null', 'anew 1', 'anew 2'], 'the items after the wipe')
    },
  },
  {
    name: 'a cursor from before a wipe is answered with the gap epoch',
    needs: ['wipe'],
    async run(world) {
      const places = await world.append(numbers(1, 3))
      await world.harness.wipe?.()
      await world.append(['anew'])
      const reader = await world.join({ cursor: cursorOf(at(places, 2)) })
      equal(await world.take(reader, 2, 'the replay'), ['gap epoch null', 'anew'], 'the items')
    },
  },
  {
    name: 'an older copy that went on unmasks the cursors of what it lost: the gap ahead, then diverged',
    needs: ['snapshot'],
    async run(world) {
      await world.append(['1', '2'])
      const restore = await world.harness.snapshot?.()
      const lost = await world.append(['3', '4'])
      await restore?.()
      const cursor = cursorOf(at(lost, 1))
      const ahead = await world.join({ cursor })
      equal(await world.take(ahead, 1, 'a gap'), ['gap ahead null'], 'the item for a cursor beyond the head')
      await world.append(['another 3', 'another 4', 'another 5'])
      const diverged = await world.join({ cursor })
      equal(await world.take(diverged, 1, 'a gap'), ['gap diverged null'], 'the item for a cursor of another history')
      const kept = await world.join({ cursor: cursorOf(at(await world.append(['6']), 0)) })
      await world.append(['7'])
      for (const reader of [kept, diverged]) {
        const items = await world.take(reader, reader === kept ? 1 : 2, 'what follows')
        equal(items.at(-1), '7', 'the last item')
      }
    },
  },
  {
    name: 'a reader that is connected while the store comes back as an older copy is told of a gap',
    needs: ['snapshot'],
    async run(world) {
      await world.append(['1', '2'])
      const restore = await world.harness.snapshot?.()
      await world.append(['3', '4'])
      const reader = await world.join({ from: 'earliest' })
      equal(await world.take(reader, 4, 'the replay'), numbers(1, 4), 'the items before')
      await restore?.()
      await world.append(['another 3', 'another 4', 'another 5'])
      const [gap] = await world.take(reader, 1, 'a gap')
      check(gap === 'gap ahead null' || gap === 'gap diverged null', `Expected a gap ahead or diverged, got ${gap}`)
      await world.append(['the end'])
      const items = await until(world, reader, 'the end')
      check(!items.includes('4') && !items.includes('3'), `Expected nothing of the lost history, got ${items.join()}`)
    },
  },
  {
    name: 'what is appended when its hint is lost is delivered by the poll',
    needs: ['dropHints'],
    async run(world) {
      const [, writer = world.store] = await world.stores(2)
      await world.append(['1'])
      const reader = await world.join()
      await world.harness.dropHints?.(true)
      await world.append(['2', '3'], { to: writer })
      equal(await world.take(reader, 2, 'what was not hinted at'), ['2', '3'], 'the items')
      await world.harness.dropHints?.(false)
      await world.append(['4'], { to: writer })
      equal(await world.take(reader, 1, 'what came after'), ['4'], 'the item after that')
    },
  },
  {
    name: 'while the store is away, publish and join are rejected in time; afterwards readers go on without a gap',
    needs: ['disconnect'],
    async run(world) {
      const hub = world.hub({ publishTimeoutMs: 1_000, joinTimeoutMs: 1_000 })
      await world.append(['1'])
      const reader = await world.join({ from: 'earliest' }, hub)
      equal(await world.take(reader, 1, 'the replay'), ['1'], 'the items before')
      const connect = await world.harness.disconnect?.()
      const publishing = rejection(hub.publish(world.stream, { data: 'uncertain' }))
      const published = await world.settled(publishing, 'publish to be rejected', 5_000)
      check(
        published === 'STORE_UNAVAILABLE' || published === 'PUBLISH_TIMEOUT',
        `Expected publish to be rejected with STORE_UNAVAILABLE or PUBLISH_TIMEOUT, got ${published}`,
      )
      const joining = rejection(hub.subscribe(`${world.stream}-other`))
      const joined = await world.settled(joining, 'the join to be rejected', 5_000)
      check(
        joined === 'STORE_UNAVAILABLE' || joined === 'JOIN_TIMEOUT',
        `Expected the join to be rejected with STORE_UNAVAILABLE or JOIN_TIMEOUT, got ${joined}`,
      )
      await connect?.()
      await world.settled(comesBack(world), 'the store to come back')
      await world.append(['the end'])
      const items = await until(world, reader, 'the end')
      equal(
        items.filter((text) => text !== 'uncertain' && text !== 'back'),
        ['the end'],
        'the items after, but for what publish could not confirm,',
      )
    },
  },
]

/** What a cursor at every place that matters is answered with: `places` are those of all events ever. */
async function verdicts(world: StoreWorld, places: readonly Appended[]): Promise<void> {
  const { epoch, first, head } = await world.view()
  const hub = world.hub()
  const known = (offset: number): Place => ({ epoch, offset, tag: offset === 0 ? 0 : (places[offset - 1]?.tag ?? 7) })
  const asked: [cursor: string, what: string, items: string[]][] = [
    ['no cursor', 'an unreadable cursor', ['gap invalid null']],
    [
      cursorOf({ ...known(head), epoch: `${epoch[0] === '1' ? '2' : '1'}${epoch.slice(1)}` }),
      'another epoch',
      ['gap epoch null', ...numbers(first, head)],
    ],
    [cursorOf(known(head + 1)), 'head+1', ['gap ahead null']],
    [cursorOf(known(head + 1_000)), 'head+1000', ['gap ahead null']],
  ]
  for (const offset of new Set([first - 1, first, Math.floor((first + head) / 2), head - 1, head])) {
    if (offset < first - 1 || offset > head) continue
    const place = known(offset)
    asked.push([cursorOf(place), `offset ${offset}`, numbers(offset + 1, head)])
    asked.push([cursorOf({ ...place, tag: place.tag + 1 }), `offset ${offset} with another tag`, ['gap diverged null']])
  }
  for (const offset of [first - 2, first - 4].filter((each) => each >= 0)) {
    asked.push([
      cursorOf(known(offset)),
      `offset ${offset}`,
      [`gap expired ${first - 1 - offset}`, ...numbers(first, head)],
    ])
  }
  const readers: { reader: Subscription; what: string }[] = []
  for (const [cursor, at, items] of asked) {
    const what = `what follows a cursor at ${at}, first ${first}, head ${head},`
    const reader = await world.join({ cursor }, hub)
    equal(await world.take(reader, items.length, what), items, what)
    readers.push({ reader, what })
  }
  await world.append(['next'])
  for (const { reader, what } of readers) equal(await world.take(reader, 1, what), ['next'], `the end of ${what}`)
}

/**
 * Reads on to the offset `head`, and holds every step against the last: the next event, or a gap that says how many
 * are missing. Returns the reasons of the gaps.
 */
async function allOrAnnounced(
  world: StoreWorld,
  reader: Subscription,
  head: number,
  after?: number,
): Promise<string[]> {
  const gaps: string[] = []
  let previous = after
  while (previous === undefined || previous < head) {
    const item = await world.next(reader, `an item after ${previous ?? 'the join'}`)
    const { offset } = placeOf(item)
    const missed = item.type === 'gap' ? item.missed : 0
    const step = offset - (previous ?? offset - 1)
    if (item.type === 'gap') {
      gaps.push(item.reason)
      if (previous !== undefined) equal(missed, step, `\`missed\` of the gap between ${previous} and ${offset}`)
    } else equal(step, 1, `the step from ${previous} to ${offset}, of which nothing was announced,`)
    previous = offset
  }
  return gaps
}

/** Reads up to the event `last`. */
async function until(world: StoreWorld, reader: Subscription, last: string): Promise<string[]> {
  const items: string[] = []
  while (items.at(-1) !== last) items.push(...(await world.take(reader, 1, `the event ${last}`)))
  return items
}

async function comesBack(world: StoreWorld): Promise<void> {
  for (;;) {
    try {
      await world.append(['back'])
      return
    } catch {
      await world.pass(50)
    }
  }
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no rejection'
  } catch (error) {
    return error instanceof SseError ? error.code : String(error)
  }
}

function at(places: readonly Appended[], index: number): Appended {
  const place = places[index]
  check(place !== undefined, `Expected append to answer with ${index + 1} places, got ${places.length}`)
  return place
}
