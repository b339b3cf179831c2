import type { Appended, EventStore, Page, StreamView } from '../../src/protocol/store.js'
import type { StoreHarness } from '../../src/testing/index.js'
import { aWhile, SharedServer } from './shared-store.js'

/** A store that breaks one rule of the port, and the cases that must find it. */
export interface Mutant {
  readonly breaks: string
  readonly make: () => StoreHarness
  readonly found: readonly string[]
}

type Change = (store: EventStore) => Partial<EventStore>

/** The store that several processes share, with a few verbs replaced. */
function changed(change: Change, harness: (server: SharedServer) => Partial<StoreHarness> = () => ({})) {
  return (): StoreHarness => {
    const server = new SharedServer()
    const whole = server.harness()
    const open = async () => {
      const store = await whole.open()
      const same: EventStore = {
        shared: true,
        pollMs: store.pollMs,
        append: (...given) => store.append(...given),
        open: (...given) => store.open(...given),
        read: (...given) => store.read(...given),
        watch: (...given) => store.watch(...given),
        seal: (...given) => store.seal(...given),
      }
      return { ...same, ...change(same) }
    }
    return { ...whole, open, ...harness(server) }
  }
}

const readAs =
  (of: (page: Page, offset: number, limit: number) => Page): Change =>
  (store) => ({
    read: async (stream, offset, options) => {
      const page = await store.read(stream, offset, options)
      return page && of(page, offset, options.limit)
    },
  })

const viewAs =
  (of: (view: StreamView) => Partial<StreamView>): Change =>
  (store) => ({
    open: async (stream) => {
      const view = await store.open(stream)
      return { ...view, ...of(view) }
    },
    read: async (stream, offset, options) => {
      const page = await store.read(stream, offset, options)
      return page && { ...page, ...of(page) }
    },
  })

const unkeyed: Change = (store) => ({
  append: (stream, events, options) =>
    store.append(
      stream,
      events.map((event) => ({ ...event, key: undefined })),
      options,
    ),
})

const never = () => () => {}

export const mutants: readonly Mutant[] = [
  {
    breaks: 'open answers, and makes no record',
    make: changed((store) => ({
      open: async (stream) => {
        const page = await store.read(stream, 0, { limit: 0 })
        const none = { epoch: 'none', first: 1, firstTag: 0, head: 0, headTag: 0, sealed: false }
        if (!page) return none
        const { epoch, first, firstTag, head, headTag, sealed } = page
        return { epoch, first, firstTag, head, headTag, sealed }
      },
    })),
    found: ['open creates the record of a stream: offset 0, tag 0, nothing retained'],
  },
  {
    breaks: 'append speaks of another epoch',
    make: changed((store) => ({
      append: async (...given) => (await store.append(...given)).map((place) => ({ ...place, epoch: 'other' })),
    })),
    found: [
      'append creates the record of a stream that has none',
      'an epoch and a tag fit a cursor, and every stream has an epoch of its own',
    ],
  },
  {
    breaks: 'every fifth append leaves a hole',
    make: changed((store) => {
      let count = 0
      return {
        append: async (stream, events, options) => {
          if (++count % 5 === 0) await store.append(stream, [{ event: undefined, data: '', key: undefined }])
          return store.append(stream, events, options)
        },
      }
    }),
    found: ['offsets are dense: each event gets the next one'],
  },
  {
    breaks: 'batches are stored in reverse',
    make: changed((store) => ({
      append: (stream, events, options) => store.append(stream, events.toReversed(), options),
    })),
    found: [
      'append answers with the place of each event of a batch, in order, as it is read back',
      'a page begins after the place that was asked for, and holds no more than limit events',
    ],
  },
  {
    breaks: 'data are trimmed',
    make: changed((store) => ({
      append: (stream, events, options) =>
        store.append(
          stream,
          events.map((event) => ({ ...event, data: event.data.trim() })),
          options,
        ),
    })),
    found: ['what is read is what was appended, to the last character'],
  },
  {
    breaks: 'data end at NUL',
    make: changed((store) => ({
      append: (stream, events, options) =>
        store.append(
          stream,
          events.map((event) => ({ ...event, data: event.data.split('\0')[0] ?? '' })),
          options,
        ),
    })),
    found: ['NUL in data is given back as it was'],
  },
  {
    breaks: 'a batch is stored event by event',
    make: changed((store) => ({
      append: async (stream, events, options) => {
        const places: Appended[] = []
        for (const event of events) places.push(...(await store.append(stream, [event], options)))
        return places
      },
    })),
    found: ['a batch is stored as one: its events stand next to one another, and no reader sees a part of it'],
  },
  {
    breaks: 'tags are made of the offset',
    make: changed((store) => ({
      append: async (...given) => (await store.append(...given)).map((place) => ({ ...place, tag: place.offset })),
      read: async (...given) => {
        const page = await store.read(...given)
        return page && { ...page, events: page.events.map((event) => ({ ...event, tag: event.offset })) }
      },
    })),
    found: [
      'every event has a random tag, above 0, that is stored with it',
      'what is appended to an older copy has the same epoch and other tags',
    ],
  },
  {
    breaks: 'previousTag is not told',
    make: changed((store) => ({
      append: async (...given) => (await store.append(...given)).map((place) => ({ ...place, previousTag: 0 })),
    })),
    found: ['previousTag is the tag of the event before, and 0 before the first'],
  },
  {
    breaks: 'streams share their log',
    make: changed((store) => ({ append: (_, ...given) => store.append('one for all', ...given) })),
    found: ['streams do not share offsets, events or keys'],
  },
  {
    breaks: 'keys are not looked at',
    make: changed(unkeyed),
    found: [
      'an event whose key is known is not stored again: the answer is the place of the first',
      'a key that comes twice in one batch is stored once, and the rest of the batch is dense',
      'a key is remembered as long as its event is retained, and forgotten with it',
      'a key, an epoch and a seal are the same for every process',
    ],
  },
  {
    breaks: 'keys are never forgotten',
    make: changed((store) => {
      const known = new Map<string, Awaited<ReturnType<EventStore['append']>>>()
      return {
        append: async (stream, events, options) => {
          const key = events[0]?.key
          const before = key === undefined ? undefined : known.get(key)
          if (before) return before.map((place) => ({ ...place, duplicate: true }))
          const places = await store.append(stream, events, options)
          if (key !== undefined) known.set(key, places)
          return places
        },
      }
    }),
    found: [
      'a key is remembered as long as its event is retained, and forgotten with it',
      'a key is forgotten when its event is too old',
    ],
  },
  {
    breaks: 'numbers are drawn before they are stored',
    make: () => new SharedServer('skips a hole').harness(),
    found: [
      '24 writers at once leave no hole, and a reader beside them never sees one',
      '24 writers at once, half of whose transactions are rolled back, leave no hole',
    ],
  },
  {
    breaks: 'transactions are not joined',
    make: changed((store) => ({ append: (stream, events) => store.append(stream, events) })),
    found: ['what is appended in a transaction is seen when that commits, and not before'],
  },
  {
    breaks: 'a seal is not kept',
    make: changed((store) => ({ seal: (stream) => store.open(stream) })),
    found: [
      'seal completes a stream, once and for all: the view says so, and append is rejected with SEALED',
      'a stream that never had an event can be sealed',
      'the record of a sealed stream outlives its events',
      'a seal is hinted at',
      'a seal ends the readers once they have everything',
    ],
  },
  {
    breaks: 'reading makes a record',
    make: changed((store) => ({
      read: async (stream, ...given) => {
        await store.open(stream)
        return store.read(stream, ...given)
      },
    })),
    found: ['a stream that is not there reads as null, and reading makes no record'],
  },
  {
    breaks: 'limit 0 is no limit',
    make: changed((store) => ({
      read: (stream, offset, options) => store.read(stream, offset, { ...options, limit: options.limit || 100 }),
    })),
    found: ['limit 0 reads the view alone, and the tag at the place'],
  },
  {
    breaks: 'one event more than the limit',
    make: changed((store) => ({
      read: (stream, offset, options) => store.read(stream, offset, { ...options, limit: options.limit + 1 }),
    })),
    found: ['a page begins after the place that was asked for, and holds no more than limit events'],
  },
  {
    breaks: 'maxBytes is not looked at',
    make: changed((store) => ({ read: (stream, offset, { limit }) => store.read(stream, offset, { limit }) })),
    found: ['maxBytes bounds a page, but one event is always in it'],
  },
  {
    breaks: 'a place that is not there has the tag of the head',
    make: changed(readAs((page) => ({ ...page, tag: page.tag ?? page.headTag }))),
    found: [
      'a place beyond the head has no tag, and nothing follows it',
      'the tag is known at every place from first−1 to head, and at no other',
    ],
  },
  {
    breaks: 'the tag before the first event is lost',
    make: changed(viewAs(() => ({ firstTag: 0 }))),
    found: [
      'retention keeps the newest: first moves on, and firstTag goes with it',
      'views stay true while writers append and the store trims',
    ],
  },
  {
    breaks: 'old events are kept',
    make: changed(
      () => ({}),
      () => ({ maxAgeMs: 1_000 }),
    ),
    found: [
      'events that are too old are gone, though nobody appends: first is head + 1, and the place is kept',
      'a key is forgotten when its event is too old',
      'the record of a sealed stream outlives its events',
    ],
  },
  {
    breaks: 'numbers begin anew when everything is pruned',
    make: () => new SharedServer('reuses an offset after pruning').harness(),
    found: ['no offset is used twice, not even when everything was pruned'],
  },
  {
    breaks: 'the epoch is the name of the stream',
    make: changed((store) => ({
      append: async (...given) => (await store.append(...given)).map((place) => ({ ...place, epoch: 'fixed' })),
      open: async (...given) => ({ ...(await store.open(...given)), epoch: 'fixed' }),
      read: async (...given) => {
        const page = await store.read(...given)
        return page && { ...page, epoch: 'fixed' }
      },
      seal: async (...given) => ({ ...(await store.seal(...given)), epoch: 'fixed' }),
    })),
    found: [
      'an epoch and a tag fit a cursor, and every stream has an epoch of its own',
      'after a wipe the stream is another incarnation: a new epoch, from offset 0',
      'a store that is wiped while a reader is connected: the gap epoch, then what follows',
      'a cursor from before a wipe is answered with the gap epoch',
    ],
  },
  {
    breaks: 'every process has a log of its own',
    make: changed(
      () => ({}),
      () => ({ open: () => new SharedServer().harness().open() }),
    ),
    found: ['every process sees what each of the others appended, in one order'],
  },
  {
    breaks: 'a watch resolves before it is one',
    make: changed((store) => ({
      watch: async (stream, hint) => {
        // Late enough to be found in one of the case's rounds, whatever the waits that are drawn.
        const unwatch = aWhile(20).then(() => store.watch(stream, hint))
        return () => void unwatch.then((run) => run())
      },
    })),
    found: ['a watch is confirmed when it resolves: an append right after it is hinted at'],
  },
  {
    breaks: 'hints come before the commit',
    make: () => new SharedServer('hints before commit').harness(),
    found: ['a hint comes when the data can be read, never before the commit'],
  },
  {
    breaks: 'a watch never ends',
    make: changed((store) => ({ watch: async (...given) => store.watch(...given).then(never) })),
    found: ['every watcher of a stream is hinted at, until it stops watching'],
  },
  {
    breaks: 'watchers are kept by their function',
    make: changed((store) => {
      const hints = new Map<string, Set<unknown>>()
      return {
        watch: async (stream, hint) => {
          const present = hints.get(stream) ?? new Set()
          hints.set(stream, present.add(hint))
          const unwatch = await store.watch(stream, (to) => present.has(hint) && hint(to))
          return () => {
            present.delete(hint)
            unwatch()
          }
        },
      }
    }),
    found: ['one function that watches twice is two watchers'],
  },
  {
    breaks: 'hints go to everybody',
    make: changed((store) => ({
      watch: async (stream, hint) => {
        const both = await Promise.all([store.watch(stream, hint), store.watch(`${stream}-other`, hint)])
        return () => both.forEach((unwatch) => void unwatch())
      },
    })),
    found: ['a watcher hears of its own stream only'],
  },
  {
    breaks: 'the tag at a place is not found',
    make: changed(readAs((page, offset) => ({ ...page, tag: offset === page.head ? page.tag : undefined }))),
    found: [
      'the table of resumption holds on a full stream, at every place',
      'the table of resumption holds on a trimmed stream, from first−2 to head+1',
    ],
  },
  {
    breaks: 'the tag of the head is lost',
    make: changed(viewAs(({ head }) => ({ headTag: head === 0 ? 9 : 0 }))),
    found: [
      'the table of resumption holds on an empty stream',
      'the table of resumption holds on a quiet stream whose events have all expired',
    ],
  },
  {
    breaks: 'nobody is hinted at, and nobody polls',
    make: changed(() => ({ pollMs: undefined, watch: async () => () => {} })),
    found: [
      'readers that join while others write are handed everything after their place',
      'what is appended when its hint is lost is delivered by the poll',
    ],
  },
  {
    breaks: 'first stands still',
    make: changed(viewAs(() => ({ first: 1, firstTag: 0 }))),
    found: ['what is trimmed while a reader is on its way becomes a gap, and nothing else is missing'],
  },
  {
    breaks: 'what comes back is not the older copy',
    make: changed(
      () => ({}),
      () => ({ snapshot: async () => () => {} }),
    ),
    found: [
      'an older copy that went on unmasks the cursors of what it lost: the gap ahead, then diverged',
      'a reader that is connected while the store comes back as an older copy is told of a gap',
    ],
  },
  {
    breaks: 'a store that was away does not come back',
    make: changed(
      () => ({}),
      (server) => ({
        disconnect: async () => {
          server.isAway = true
          return () => {}
        },
      }),
    ),
    found: ['while the store is away, publish and join are rejected in time; afterwards readers go on without a gap'],
  },
]
