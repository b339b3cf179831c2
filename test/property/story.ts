import { type Place, parseCursor } from '../../src/protocol/cursor.js'
import type { GapItem, StreamItem } from '../../src/protocol/event.js'
import { keyOf, type ModelStore } from '../support/model-store.js'

/** What one consumer was handed, from when it was connected. */
export interface Story {
  readonly stream: string
  /** The place it came back with; without one it is new. */
  readonly place: Place | undefined
  readonly from: 'earliest' | 'now'
  /** Between these moments of the stream it was joined. */
  readonly asked: number
  joined: number
  readonly items: readonly StreamItem[]
}

/** What may have made a gap necessary. */
export interface Causes {
  /** Events were trimmed. */
  readonly retention: boolean
  readonly limit: boolean
  /** The cursor was lost on the way. */
  readonly stripped: boolean
}

/**
 * The promise, as a walk through the items: each event continues the place before it, or a gap stands in between that
 * says the truth. Returns the place at its end; `undefined` when nothing was handed over and nothing had been before.
 *
 * @throws Error that says what is wrong with which item.
 */
export function walk(story: Story, store: ModelStore, causes: Causes): Place | undefined {
  let { place } = story
  for (const [index, item] of story.items.entries()) {
    const wrong = (what: string) => {
      const at = place ? keyOf(place) : `the beginning (${story.from})`
      return new Error(`item ${index} of ${story.stream}, ${show(item)}, after ${at}: ${what}`)
    }
    if (item.type === 'gap') {
      const next = parseCursor(item.id)
      if (!next) throw wrong('a gap without a place')
      const lie = lieOf(item, place, next, { store, causes, stream: story.stream })
      if (lie) throw wrong(lie)
      place = next
    } else {
      const stored = store.events.get(item.data.slice(0, item.data.indexOf(':')))
      if (!stored || stored.stream !== story.stream) throw wrong('never published')
      if (stored.data !== item.data) throw wrong('not what was published')
      const { parent } = stored
      if (place ? keyOf(parent) !== keyOf(place) : !begins(story, store, parent)) {
        throw wrong(`loss, repetition or disorder in silence: the event continues ${keyOf(parent)}`)
      }
      place = stored.place
    }
  }
  return place
}

/** Whether a new reader may begin at `place`: where the stream stood at some moment of its join. */
export function begins({ asked, joined, from, stream }: Story, store: ModelStore, place: Place): boolean {
  const moments = store.moments(stream).slice(Math.max(0, asked - 1), joined + 1)
  return moments.some(({ head, start }) => keyOf(from === 'now' ? head : start) === keyOf(place))
}

/** What a gap says that is not so, if anything. */
function lieOf(
  { reason, missed }: GapItem,
  from: Place | undefined,
  to: Place,
  { store, causes, stream }: { store: ModelStore; causes: Causes; stream: string },
): string | undefined {
  const isStart = store.moments(stream).some(({ start }) => keyOf(start) === keyOf(to))
  const isHead = store.moments(stream).some(({ head }) => keyOf(head) === keyOf(to))
  if (!isStart && !isHead && !causes.limit) return 'neither where the stream begins nor where it ends'
  const isKnown = reason === 'expired' || reason === 'limit'
  if (!isKnown && missed !== null) return 'what cannot be known is counted'
  switch (reason) {
    case 'invalid':
      return causes.stripped ? undefined : 'no cursor was lost'
    case 'epoch':
      if (store.replaced === 0) return 'the log was never replaced'
      if (from && from.epoch === to.epoch) return 'the epoch is the same'
      return isStart || causes.limit ? undefined : 'it does not continue where the new log begins'
    case 'ahead':
    case 'diverged':
      if (store.replaced === 0) return 'the log was never replaced'
      if (!isHead) return 'it does not continue at the head'
      if (!from) return undefined
      if (from.epoch !== to.epoch) return 'the epoch is another'
      if (reason === 'ahead') return to.offset < from.offset ? undefined : 'the log is not behind'
      return store.continues(from, to) ? 'nothing diverged' : undefined
    case 'expired':
    case 'limit':
      if (!(reason === 'expired' ? causes.retention : causes.limit)) return 'nothing was cut off'
      if (reason === 'expired' && !isStart && !causes.limit) return 'it does not continue at the oldest event'
      if (missed === null || missed < 1) return 'nothing is missing'
      if (!from) return undefined
      if (missed !== to.offset - from.offset) return `${to.offset - from.offset} are missing`
      return store.continues(from, to) || store.replaced > 0 ? undefined : 'it does not continue the same log'
    default:
      return 'no such reason here'
  }
}

function show(item: StreamItem): string {
  return item.type === 'gap'
    ? `gap ${item.reason} (${item.missed}) to ${item.id}`
    : `${JSON.stringify(item.data.slice(0, 12))} ${item.id}`
}
