import { describe, expect, test } from 'vitest'
import { formatCursor, parseCursor } from '../../src/protocol/cursor.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { eventItem } from '../../src/protocol/event.js'
import type { EventStore, Page } from '../../src/protocol/store.js'
import { join, type MakeJoining, play, type Scene } from '../property/join.js'
import { finds } from '../property/runs.js'
import { Everything } from '../support/explorer.js'

const WHOLE = { limit: 1_000 }

/** What the shapes have in common: a list of items, and writers that write. */
function shape(
  begin: (parts: {
    store: EventStore
    give: (page: Page | null, which?: (offset: number) => boolean) => void
    begin: (from: 'now' | 'earliest', cursor: string | undefined) => Promise<number>
  }) => { join(offset: Promise<number>): Promise<unknown> },
): MakeJoining {
  return ({ store }) => {
    const items: StreamItem[] = []
    const give = (page: Page | null, which: (offset: number) => boolean = () => true) => {
      for (const { offset, tag, event, data } of page?.events ?? []) {
        const id = formatCursor({ epoch: page?.epoch ?? '', offset, tag })
        if (which(offset)) items.push(eventItem(id, event, data))
      }
    }
    const first = async (from: 'now' | 'earliest', cursor: string | undefined) => {
      if (cursor !== undefined) return parseCursor(cursor)?.offset ?? 0
      const view = await store.open('s')
      return from === 'now' ? view.head : view.first - 1
    }
    const { join: begun } = begin({ store, give, begin: first })
    return {
      items,
      join: (from, cursor) => begun(first(from, cursor)),
      publish: async (_, data) => store.append('s', [{ event: undefined, data, key: undefined }]),
      async close() {
        closeWatches(store)
      },
    }
  }
}

const watches = new WeakMap<EventStore, (() => void)[]>()

async function watch(store: EventStore, hint: (head: number) => Promise<unknown>): Promise<void> {
  const unwatch = await store.watch('s', (to) => void hint(to?.head ?? 0))
  watches.set(store, [...(watches.get(store) ?? []), unwatch])
}

function closeWatches(store: EventStore): void {
  for (const unwatch of watches.get(store) ?? []) unwatch()
}

/** Reads what there is, and subscribes when that is done: what comes in between, nobody sees. */
const readThenSubscribe = shape(({ store, give }) => ({
  async join(offset) {
    give(await store.read('s', await offset, WHOLE))
    await watch(store, async (head) => give(await store.read('s', head - 1, { limit: 1 })))
  },
}))

/** Subscribes first and drops from its buffer what the replay has brought; what is late after that, it gives again. */
const dedupeOfTheBuffer = shape(({ store, give }) => ({
  async join(offset) {
    const buffer: number[] = []
    let isLive = false
    await watch(store, async (head) => {
      if (isLive) give(await store.read('s', head - 1, { limit: 1 }))
      else buffer.push(head)
    })
    const page = await store.read('s', await offset, WHOLE)
    give(page)
    const replayed = page?.events.at(-1)?.offset ?? (await offset)
    for (const head of buffer) if (head > replayed) give(await store.read('s', head - 1, { limit: 1 }))
    isLive = true
  },
}))

/** Takes the newest that was seen as proof that all before it were: order by the word of hints. */
const highestSeen = shape(({ store, give }) => ({
  async join(offset) {
    let seen = await offset
    await watch(store, async (head) => {
      if (head <= seen) return
      seen = head
      give(await store.read('s', head - 1, { limit: 1 }))
    })
    const page = await store.read('s', seen, WHOLE)
    give(page, (at) => at > seen)
    seen = Math.max(seen, page?.events.at(-1)?.offset ?? 0)
  },
}))

/** Answers 200 at once, and subscribes afterwards. */
const answersBeforeTheJoin = shape(({ store, give }) => ({
  async join() {
    void (async () => {
      let seen = (await store.open('s')).head
      let isReading = false
      await watch(store, async () => {
        if (isReading) return
        isReading = true
        const page = await store.read('s', seen, WHOLE)
        give(page)
        seen = page?.head ?? seen
        isReading = false
      })
    })()
  },
}))

/** One writer, nothing lost, nothing swapped: what these shapes get wrong, they get wrong on a good day. */
const plain: Scene = { here: 2, elsewhere: 0, before: 1, from: 'now', losses: 0 }

describe.each([
  ['read, then subscribe', readThenSubscribe],
  ['dedupe of the join buffer only', dedupeOfTheBuffer],
  ['the highest seen taken for all seen', highestSeen],
  ['200 before the join', answersBeforeTheJoin],
])('%s', (_, make) => {
  test('is found by any scene', async () => {
    await finds(join(make), 2_500, /in silence|loss/)
  })

  test('is found among all ways of a plain scene', async () => {
    const all = new Everything()
    let wrong: unknown
    for (let ways = 0; ways < 3_000 && wrong === undefined && all.next(); ways++) {
      await play(make, plain, all.choose).catch((error: unknown) => {
        wrong = error
      })
      all.done()
    }
    expect(String(wrong)).toMatch(/in silence|loss/)
  })
})
