import type { Appended, Page } from '../protocol/store.js'
import { check, equal } from './conformance.js'
import { checkPage, numbers, type StoreStatement, type StoreWorld } from './store-world.js'

const WRITERS = 24
const EACH = 6
/** The size of a batch. */
const BATCH = 5

/** Writers at once, and a reader beside them. */
export const writerStatements: readonly StoreStatement[] = [
  {
    name: `${WRITERS} writers at once leave no hole, and a reader beside them never sees one`,
    needs: [],
    async run(world) {
      const stores = await world.stores(3)
      const write = async (writer: number) => {
        const store = stores[writer % stores.length] ?? world.store
        const places: Appended[] = []
        for (let n = 0; n < EACH; n++) {
          await world.moment()
          places.push(...(await world.append([`${writer}.${n}`], { to: store })))
        }
        return places
      }
      await watchingThePages(world, () => Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer))))
    },
  },
  {
    name: 'a batch is stored as one: its events stand next to one another, and no reader sees a part of it',
    needs: [],
    async run(world) {
      const stores = await world.stores(3)
      const [, reader = world.store] = stores
      await world.store.open(world.stream)
      const write = async (writer: number) => {
        const to = stores[writer % stores.length] ?? world.store
        for (let n = 0; n < EACH; n++) {
          await world.moment()
          const places = await world.append(numbers(1, BATCH), { to })
          const [first] = places
          equal(
            places.map(({ offset }) => offset),
            places.map((_, index) => (first?.offset ?? 0) + index),
            'the offsets of a batch',
          )
        }
      }
      let isDone = false
      const look = async () => {
        while (!isDone) {
          const { head } = await world.read(0, 0, { from: reader })
          check(head % BATCH === 0, `Expected the head to be that of a whole batch of ${BATCH}, got ${head}`)
          await world.moment()
        }
      }
      const writing = Promise.all(Array.from({ length: 8 }, (_, writer) => write(writer))).finally(() => {
        isDone = true
      })
      await Promise.all([writing, look()])
      equal((await world.view()).head, 8 * EACH * BATCH, 'the head after all batches')
    },
  },
  {
    name: `${WRITERS} writers at once, half of whose transactions are rolled back, leave no hole`,
    needs: ['transaction'],
    async run(world) {
      const write = async (writer: number) => {
        const transaction = await world.harness.transaction?.()
        check(transaction !== undefined, 'Expected `transaction` to begin one')
        await world.moment()
        const places = await world.append([`${writer}.0`, `${writer}.1`], { transaction: transaction.handle })
        await world.moment()
        if (writer % 2 === 0) {
          await transaction.commit()
          return [...places]
        }
        await transaction.rollback()
        return []
      }
      await watchingThePages(world, () => Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer))))
    },
  },
  {
    name: 'what is appended in a transaction is seen when that commits, and not before',
    needs: ['transaction'],
    async run(world) {
      await world.append(['before'])
      const transaction = await world.harness.transaction?.()
      check(transaction !== undefined, 'Expected `transaction` to begin one')
      const reader = await world.join()
      const [place] = await world.append(['inside'], { transaction: transaction.handle })
      await world.pass(50)
      equal((await world.view()).head, 1, 'the head before the commit')
      await transaction.commit()
      equal((await world.view()).head, place?.offset, 'the head after the commit')
      equal(await world.take(reader, 1, 'the event after its commit'), ['inside'], 'what the reader is handed')
    },
  },
  {
    name: 'views stay true while writers append and the store trims',
    needs: ['maxEvents'],
    async run(world) {
      const stores = await world.stores(3)
      const each = Math.ceil(((world.harness.maxEvents ?? 0) * 3) / 8)
      const write = async (writer: number) => {
        const places: Appended[] = []
        for (let n = 0; n < each; n++) {
          await world.moment()
          places.push(...(await world.append([`${writer}.${n}`], { to: stores[writer % 3] ?? world.store })))
        }
        return places
      }
      await watchingThePages(world, () => Promise.all(Array.from({ length: 8 }, (_, writer) => write(writer))))
    },
  },
]

/** Reads all the time while `write` writes, and then holds every page that was seen against what was written. */
async function watchingThePages(world: StoreWorld, write: () => Promise<Appended[][]>): Promise<void> {
  const [, reader = world.store] = await world.stores(2)
  const { epoch } = await world.store.open(world.stream)
  const pages: { page: Page; asked: number }[] = []
  let isDone = false
  const follow = async () => {
    let at = 0
    for (let round = 0; !isDone || at < (pages.at(-1)?.page.head ?? 0); round++) {
      const asked = round % 3 === 0 ? Math.floor(Math.random() * (at + 1)) : at
      const page = await world.read(asked, 20, { from: reader })
      if (asked === at) at = page.events.at(-1)?.offset ?? Math.max(at, page.first - 1)
      const before = pages.at(-1)?.page
      if (before) check(page.head >= before.head, `Expected the head to grow, got ${page.head} after ${before.head}`)
      if (before) check(page.first >= before.first, `Expected first to grow, got ${page.first} after ${before.first}`)
      pages.push({ page, asked })
      await world.moment()
    }
  }
  const writing = write().finally(() => {
    isDone = true
  })
  const [written] = await Promise.all([writing, follow()])
  const tags = new Map<number, number>([[0, 0]])
  for (const places of written) {
    for (const [index, { offset, tag }] of places.entries()) {
      const previous = places[index - 1]
      check(
        !previous || previous.offset < offset,
        `Expected a writer's events to keep their order, got ${offset} after ${previous?.offset}`,
      )
      check(!tags.has(offset), `Expected no offset to be given twice, got ${offset} again`)
      tags.set(offset, tag)
    }
  }
  equal(
    [...tags.keys()].sort((a, b) => a - b),
    [...Array(tags.size).keys()],
    'all offsets, with 0,',
  )
  for (const { page, asked } of pages) {
    const { first, firstTag, head, headTag, tag, events } = page
    checkPage(page, asked, 20)
    equal(page.epoch, epoch, 'the epoch of every page')
    const what = `read(${asked}) with first ${first} and head ${head}`
    equal({ firstTag, headTag }, { firstTag: tags.get(first - 1), headTag: tags.get(head) }, `the tags of ${what}`)
    equal(tag, asked >= first - 1 && asked <= head ? tags.get(asked) : undefined, `the tag at the place of ${what}`)
    for (const event of events) equal(event.tag, tags.get(event.offset), `the tag of ${event.offset} in ${what}`)
  }
}
