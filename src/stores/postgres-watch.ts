import type { Clock } from '../protocol/clock.js'
import type { Hint, StreamView } from '../protocol/store.js'
import { type Newest, PostgresAnnouncer, unpacked } from './postgres-announcer.js'
import type { PostgresConnections } from './postgres-connections.js'
import { PostgresListener } from './postgres-listener.js'
import { hashOf, type PostgresNames } from './postgres-schema.js'
import { shortHash, toText } from './postgres-text.js'

/** The most streams that one look compares; when more are watched, they take turns. */
const STREAMS_PER_LOOK = 1_000

export interface PostgresWatchOptions {
  readonly connections: PostgresConnections
  /** Lends the connection that listens; `undefined` where there are no hints. */
  readonly listen: PostgresConnections | undefined
  readonly names: PostgresNames
  readonly pollMs: number
  readonly clock: () => Clock
}

interface Watched {
  readonly stream: string
  readonly hints: Set<Hint>
  /** How the stream stood when it was last read or hinted at; `undefined` before that, '' when it is not there. */
  state: string | undefined
}

/**
 * Who watches what in this process. Hints come by NOTIFY; and one statement for all streams looks from time to time
 * for what moved without a hint: written by other tools, or by a process that died before it could tell.
 */
export class PostgresWatch {
  readonly #options: PostgresWatchOptions
  readonly #announcer: PostgresAnnouncer | undefined
  readonly #listener: PostgresListener | undefined
  readonly #streams = new Map<string, Watched>()
  readonly #byHash = new Map<string, Set<Watched>>()
  readonly #lookSql: string
  #cancelLook: (() => void) | undefined
  #isLooking = false

  constructor(options: PostgresWatchOptions) {
    this.#options = options
    const { connections, listen, names, clock } = options
    this.#announcer = listen && new PostgresAnnouncer(connections, names.channel, clock)
    this.#listener =
      listen &&
      new PostgresListener(listen, names.channel, {
        clock,
        notified: (payload) => this.#notified(payload),
        resumed: () => {
          for (const watched of this.#streams.values()) tell(watched, undefined)
        },
      })
    this.#lookSql = `SELECT w.at::text, s.epoch, s.head::text, s.state
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (name, state, at)
      LEFT JOIN LATERAL (
        SELECT epoch, head, concat_ws('.', epoch, head, head_tag, sealed_until IS NOT NULL) AS state
        FROM ${names.streams} WHERE hash = ${hashOf('w.name')}
      ) s ON true
      WHERE coalesce(s.state, '') IS DISTINCT FROM w.state`
  }

  /** The streams that are watched here. */
  get streams(): ReadonlyMap<string, unknown> {
    return this.#streams
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    // One function may watch twice.
    const own: Hint = (to) => hint(to)
    const watched = this.#add(stream)
    watched.hints.add(own)
    const unwatch = () => {
      if (watched.hints.delete(own) && watched.hints.size === 0) this.#remove(watched)
    }
    try {
      await this.#listener?.listen()
    } catch (error) {
      unwatch()
      throw error
    }
    this.#lookLater()
    return unwatch
  }

  /** What was read of a stream: whatever it is found to be after that, is news. */
  seen(stream: string, { epoch, head, headTag, sealed }: StreamView): void {
    const watched = this.#streams.get(stream)
    if (watched && watched.state === undefined) watched.state = stateOf(epoch, head, headTag, sealed)
  }

  /** This process has moved a stream: its own watchers are told at once, the others as soon as may be. */
  moved(stream: string, to?: Newest): void {
    const watched = this.#streams.get(stream)
    if (watched) tell(watched, to)
    this.#announcer?.announce(stream, to)
  }

  close(): void {
    this.#announcer?.close()
    this.#listener?.rest()
    this.#cancelLook?.()
    this.#cancelLook = undefined
    this.#streams.clear()
    this.#byHash.clear()
  }

  #add(stream: string): Watched {
    const present = this.#streams.get(stream)
    if (present) return present
    const watched: Watched = { stream, hints: new Set(), state: undefined }
    this.#streams.set(stream, watched)
    const hash = shortHash(stream)
    this.#byHash.set(hash, (this.#byHash.get(hash) ?? new Set()).add(watched))
    return watched
  }

  #remove(watched: Watched): void {
    if (this.#streams.get(watched.stream) !== watched) return
    this.#streams.delete(watched.stream)
    const hash = shortHash(watched.stream)
    const same = this.#byHash.get(hash)
    same?.delete(watched)
    if (same?.size === 0) this.#byHash.delete(hash)
    if (this.#streams.size > 0) return
    this.#listener?.rest()
    this.#cancelLook?.()
    this.#cancelLook = undefined
  }

  #notified(payload: string): void {
    for (const [hash, to] of unpacked(payload)) {
      for (const watched of this.#byHash.get(hash) ?? []) tell(watched, to)
    }
  }

  #lookLater(): void {
    if (this.#cancelLook || this.#isLooking || this.#streams.size === 0) return
    const { clock, pollMs } = this.#options
    this.#cancelLook = clock().setTimeout(() => void this.#look(), pollMs, false)
  }

  async #look(): Promise<void> {
    this.#cancelLook = undefined
    this.#isLooking = true
    const turn = [...firstOf(this.#streams.values(), STREAMS_PER_LOOK)]
    const states = turn.map(({ state }) => state ?? null)
    const values = [turn.map(({ stream }) => toText(stream)), states]
    const { connections } = this.#options
    try {
      const { rows } = await connections.query({ text: this.#lookSql, values }, connections.lookMs)
      for (const row of rows as LookRow[]) {
        const at = Number(row.at) - 1
        const watched = turn[at]
        // One that was hinted at meanwhile is left to the next look: this one may be older than the hint.
        if (watched && (watched.state ?? null) === states[at]) found(watched, row)
      }
      this.#toTheEnd(turn)
    } catch {
      // The database is away. What is different is found by the next look.
    }
    this.#isLooking = false
    this.#lookLater()
  }

  #toTheEnd(turn: readonly Watched[]): void {
    if (this.#streams.size <= turn.length) return
    for (const watched of turn) {
      if (!this.#streams.delete(watched.stream)) continue
      this.#streams.set(watched.stream, watched)
    }
  }
}

interface LookRow {
  readonly at: unknown
  readonly epoch: string | null
  readonly head: unknown
  readonly state: string | null
}

function found(watched: Watched, { epoch, head, state }: LookRow): void {
  const before = watched.state
  watched.state = state ?? ''
  // Nobody has read a stream that is not there.
  if (before === undefined && state === null) return
  const grew = epoch !== null && isBeyond(before, epoch, Number(head))
  // Anything but growth may be another history: who holds the old one must look, however far it went.
  hintAt(watched, grew ? { epoch, head: Number(head) } : undefined)
}

function tell(watched: Watched, to: Newest | undefined): void {
  // What is not beyond may be of another history, or late: the next look tells, by what is held against it.
  if (to && (watched.state === undefined || isBeyond(watched.state, to.epoch, to.head))) {
    watched.state = stateOf(to.epoch, to.head, to.tag, false)
  }
  hintAt(watched, to)
}

function hintAt({ hints }: Watched, to: Parameters<Hint>[0]): void {
  for (const hint of hints) hint(to && { epoch: to.epoch, head: to.head })
}

/** As the database puts it together. */
function stateOf(epoch: string, head: number, tag: number, sealed: boolean): string {
  return `${epoch}.${head}.${tag}.${sealed ? 't' : 'f'}`
}

/** Whether the stream has grown since. */
function isBeyond(state: string | undefined, epoch: string, head: number): boolean {
  const [knownEpoch, knownHead] = state?.split('.') ?? []
  return epoch === knownEpoch && head > Number(knownHead)
}

function* firstOf<T>(items: Iterable<T>, count: number): Iterable<T> {
  let left = count
  for (const item of items) {
    if (left-- <= 0) return
    yield item
  }
}
