import fc from 'fast-check'
import { formatCursor, type Place } from '../../src/protocol/cursor.js'
import type { StreamItem } from '../../src/protocol/event.js'
import type { EventStore } from '../../src/protocol/store.js'
import { createHub } from '../../src/server/index.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { type Choose, ExploredStore, Explorer } from '../support/explorer.js'
import { ModelStore } from '../support/model-store.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { turns } from '../support/turns.js'
import { type Story, walk } from './story.js'

/** A reader that joins a stream of a store, and those who publish into it. */
export interface Joining {
  /** Resolves when the subscription exists: from now on, nothing may be missed. */
  join(from: 'now' | 'earliest', cursor: string | undefined): Promise<unknown>
  publish(writer: 'here' | 'elsewhere', data: string): Promise<unknown>
  /** What the reader was given. */
  readonly items: readonly StreamItem[]
  close(): Promise<unknown>
}

export type MakeJoining = (parts: { store: EventStore; clock: VirtualClock }) => Joining

const STREAM = 's'

const hubs = ({ store, clock }: { store: EventStore; clock: VirtualClock }) => ({
  here: createHub({ store, clock, joinTimeoutMs: 1e8, publishTimeoutMs: 1e8 }),
  elsewhere: createHub({ store, clock, joinTimeoutMs: 1e8, publishTimeoutMs: 1e8 }),
})

/** Joins by `hub.subscribe`. */
export const bySubscription: MakeJoining = (parts) => {
  const writers = hubs(parts)
  const items: StreamItem[] = []
  return {
    items,
    async join(from, cursor) {
      const subscription = await writers.here.subscribe(STREAM, { from, cursor })
      void (async () => {
        for await (const item of subscription) items.push(item)
      })()
    },
    publish: (writer, data) => writers[writer].publish(STREAM, { data }),
    close: () => Promise.all([writers.here.close(), writers.elsewhere.close()]),
  }
}

/** Joins as a request does. */
export const byConnection: MakeJoining = (parts) => {
  const writers = hubs(parts)
  const sink = new ScriptedSink()
  return {
    get items() {
      const items = sink.frames.filter(({ event }) => event === undefined || event === 'stream:gap')
      return items.map(({ event, data, id = '' }) =>
        event ? { type: 'gap', id, ...JSON.parse(data) } : { type: 'event', id, event: 'message', data },
      )
    },
    join: (from, cursor) => openOn(writers.here, STREAM, { from, cursor, sink }),
    publish: (writer, data) => writers[writer].publish(STREAM, { data }),
    close() {
      sink.leave()
      return Promise.all([writers.here.close(), writers.elsewhere.close()])
    },
  }
}

/** What is explored. */
export interface Scene {
  /** How many events each writer publishes, without waiting for one before the next. */
  readonly here: number
  readonly elsewhere: number
  /** How many events were there before, and how many are retained. */
  readonly before: number
  readonly maxEvents?: number
  readonly from: 'now' | 'earliest'
  /** The offset of the cursor that the reader comes with. */
  readonly cursor?: number
  /** How many hints may be lost. */
  readonly losses: number
  /** Whether readers look by themselves, from time to time. Where no hint is lost they need not. */
  readonly polls?: boolean
  /** Whether the store does its work at a moment of its own, after it was asked. */
  readonly isLate?: boolean
}

/**
 * Plays one way of a scene. Every event that was published after the join is given, and every one after the cursor, in
 * order and once, whatever happens between a question to the store and its answer, and whatever becomes of hints.
 *
 * @param pause - gives the system between two things that happen its turns: all it wants, or fewer.
 */
export async function play(make: MakeJoining, scene: Scene, choose: Choose, pause = () => turns(3)): Promise<number> {
  const clock = virtualClock()
  const log = new ModelStore({
    pollMs: scene.polls === false ? 0 : 500,
    ...(scene.maxEvents !== undefined && { maxEvents: scene.maxEvents }),
  })
  const explorer = new Explorer(choose, scene.losses)
  const store = new ExploredStore(log, explorer, scene.isLate ?? false)
  const joining = make({ store, clock })
  const places: Place[] = []
  for (let n = 1; n <= scene.before; n++) places.push(...log.append(STREAM, [append(`before ${n}`)]))
  if (scene.before === 0) log.open(STREAM)
  const place = scene.cursor === undefined ? undefined : places[scene.cursor - 1]
  let acts = 0
  let joinedAt: number | undefined
  let asked = 0
  let failure: unknown
  const publishing: Promise<unknown>[] = []
  const fail = (error: unknown) => {
    failure = error
  }
  const act = (name: string, run: () => void) => {
    acts++
    explorer.add(name, () => {
      acts--
      run()
    })
  }
  act('join', () => {
    asked = log.moments(STREAM).length
    joining.join(scene.from, place && formatCursor(place)).then(() => {
      joinedAt = log.moments(STREAM).length
    }, fail)
  })
  const write = (writer: 'here' | 'elsewhere', n: number) => {
    if (n > scene[writer]) return
    act(`publish ${writer} ${n}`, () => {
      const published = joining.publish(writer, `${writer} ${n}:`)
      publishing.push(published.catch(fail))
      write(writer, n + 1)
    })
  }
  write('here', 1)
  write('elsewhere', 1)
  const story = () => {
    const joined = joinedAt ?? Number.POSITIVE_INFINITY
    const told: Story = { stream: STREAM, from: scene.from, place, asked, joined, items: joining.items }
    return walk(told, log, { retention: scene.maxEvents !== undefined, limit: false, stripped: false })
  }
  let steps = 0
  try {
    for (; !explorer.idle && steps < 200; steps++) {
      explorer.step(true)
      await (acts > 0 ? pause() : turns(3))
      if (failure) throw failure
    }
    // Nothing more happens by itself: lost hints are made up for by looking.
    for (let round = 0; round < 12; round++) {
      await clock.advance(500)
      for (let step = 0; !explorer.idle && step < 200; step++) {
        explorer.step(false)
        await turns(3)
      }
      if (isAt(story(), log.head(STREAM)) || (joinedAt ?? 0) === log.moments(STREAM).length) break
    }
    story()
    if (joinedAt === undefined) throw new Error('never joined')
    const reached = story() ?? place ?? log.moments(STREAM)[joinedAt - 1]?.head
    if (!isAt(reached, log.head(STREAM)))
      throw new Error(`loss: not all of ${log.head(STREAM).offset} events were given`)
    await Promise.all(publishing)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n  ${explorer.trace.join('\n  ')}`, { cause: error })
  } finally {
    const closed = joining.close()
    for (let step = 0; step < 50; step++) {
      explorer.step(false)
      await turns(1)
      if (explorer.idle) break
    }
    await clock.advance(10_000)
    await closed
  }
  if (clock.pending > 0 || log.watching > 0)
    throw new Error(`left behind: ${clock.pending} timers, ${log.watching} watches`)
  return steps
}

function isAt(place: Place | undefined, head: Place): boolean {
  return place !== undefined && formatCursor(place) === formatCursor(head)
}

function append(data: string) {
  return { event: undefined, data: `${data}:`, key: undefined }
}

const scene: fc.Arbitrary<Scene> = fc.record(
  {
    here: fc.nat(3),
    elsewhere: fc.nat(3),
    before: fc.nat(4),
    from: fc.constantFrom('now' as const, 'earliest' as const),
    losses: fc.nat(2),
    isLate: fc.boolean(),
    maxEvents: fc.constantFrom(1, 2, 3),
    cursor: fc.integer({ min: 1, max: 4 }),
  },
  { requiredKeys: ['here', 'elsewhere', 'before', 'from', 'losses', 'isLate'], noNullPrototype: true },
)

/** Any scene, played in any way: what `choices` says is what happens next, and how many turns are given in between. */
export function join(make: MakeJoining): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(scene, fc.array(fc.nat(1_000), { maxLength: 80 }), async (chosen, choices) => {
    let at = 0
    const next = () => choices[at++] ?? 0
    await play(
      make,
      { ...chosen, polls: chosen.losses > 0 },
      (count) => next() % count,
      () => turns(next() % 4),
    )
  })
}
