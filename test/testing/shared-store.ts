import { nextTurn } from '../../src/protocol/clock.js'
import { randomEpoch, randomTag } from '../../src/protocol/cursor.js'
import { SseError } from '../../src/protocol/error.js'
import type {
  AppendEvent,
  Appended,
  AppendOptions,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoredEvent,
  StreamView,
} from '../../src/protocol/store.js'
import type { StoreHarness, StoreTransaction } from '../../src/testing/index.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtual-clock.js'

/** What is wrong with a store; every one of these has been seen in real ones. */
export type Defect =
  /** Numbers are drawn first and stored later, as with a sequence: a later one is seen before an earlier one. */
  | 'skips a hole'
  /** The next number is one more than the newest event that is retained. */
  | 'reuses an offset after pruning'
  /** The hint is sent before what it is about can be read. */
  | 'hints before commit'

interface Row extends StoredEvent {
  readonly key: string | undefined
  readonly time: number
}

interface Log {
  readonly epoch: string
  rows: Row[]
  /** The newest number that was drawn, whether it is stored or not. */
  drawn: number
  head: number
  headTag: number
  firstTag: number
  sealed: boolean
}

interface Transaction {
  readonly writes: (() => void)[]
  readonly unlock: (() => void)[]
}

const MAX_EVENTS = 12
const MAX_AGE_MS = 600_000

/** A server that several stores share, in memory: every answer takes a while, and what is committed is hinted at later. */
export class SharedServer {
  readonly clock: VirtualClock = virtualClock()
  readonly defect: Defect | undefined
  logs = new Map<string, Log>()
  readonly hints = new Map<string, Set<{ hint: Hint }>>()
  readonly #locks = new Map<string, Promise<void>>()
  dropsHints = false
  isAway = false

  constructor(defect?: Defect) {
    this.defect = defect
  }

  harness(): StoreHarness {
    const { clock } = this
    return {
      open: () => new SharedStore(this),
      wipe: () => this.logs.clear(),
      snapshot: async () => {
        const copy = structuredClone(this.logs)
        return () => {
          this.logs = copy
        }
      },
      dropHints: (on) => {
        this.dropsHints = on
      },
      disconnect: async () => {
        this.isAway = true
        return () => {
          this.isAway = false
        }
      },
      transaction: async () => this.begin(),
      maxEvents: MAX_EVENTS,
      maxAgeMs: MAX_AGE_MS,
      clock,
      advance: (ms) => clock.advance(ms),
      close: () => {},
    }
  }

  begin(): StoreTransaction {
    const handle: Transaction = { writes: [], unlock: [] }
    const end = async (commit: boolean) => {
      await aWhile()
      if (commit) for (const write of handle.writes) write()
      for (const unlock of handle.unlock) unlock()
    }
    return { handle, commit: () => end(true), rollback: () => end(false) }
  }

  /** Only one writes to a stream at a time, until it unlocks. */
  async lock(stream: string): Promise<() => void> {
    const before = this.#locks.get(stream) ?? Promise.resolve()
    let unlock = () => {}
    const mine = new Promise<void>((resolve) => {
      unlock = resolve
    })
    this.#locks.set(
      stream,
      before.then(() => mine),
    )
    await before
    return unlock
  }

  log(stream: string): Log {
    const present = this.logs.get(stream)
    if (present) return present
    const log = { epoch: randomEpoch(), rows: [], drawn: 0, head: 0, headTag: 0, firstTag: 0, sealed: false }
    this.logs.set(stream, log)
    return log
  }

  hint(stream: string): void {
    if (this.dropsHints || this.isAway) return
    for (const { hint } of this.hints.get(stream) ?? []) nextTurn(() => hint(undefined))
  }

  trim(log: Log): void {
    const isOld = ({ time }: Row) => this.clock.now() - time >= MAX_AGE_MS
    for (let [oldest] = log.rows; oldest && (log.rows.length > MAX_EVENTS || isOld(oldest)); [oldest] = log.rows) {
      log.firstTag = oldest.tag
      log.rows = log.rows.slice(1)
    }
    if (this.defect === 'reuses an offset after pruning') log.head = log.rows.at(-1)?.offset ?? 0
  }
}

class SharedStore implements EventStore {
  readonly shared = true
  readonly pollMs = 100
  readonly #server: SharedServer

  constructor(server: SharedServer) {
    this.#server = server
  }

  async append(stream: string, events: readonly AppendEvent[], { transaction }: AppendOptions = {}) {
    const server = this.#server
    await this.#reach()
    const own = transaction as Transaction | undefined
    if (server.defect === 'skips a hole') return this.#appendDrawn(stream, events, own)
    const unlock = await server.lock(stream)
    own?.unlock.push(unlock)
    try {
      await this.#reach()
      const log = server.log(stream)
      if (log.sealed) throw new SseError('SEALED', 'The stream is sealed.')
      server.trim(log)
      const { places, rows } = planned(log, events, server.clock.now())
      const write = () => {
        for (const row of rows) put(log, row)
        server.trim(log)
        server.hint(stream)
      }
      if (own) own.writes.push(write)
      else {
        if (server.defect === 'hints before commit') {
          server.hint(stream)
          server.dropsHints = true
          await aWhile(6)
        }
        write()
        if (server.defect === 'hints before commit') server.dropsHints = false
        await aWhile()
      }
      return places
    } finally {
      if (!own) unlock()
    }
  }

  /** Draws the numbers, and stores some time later. */
  async #appendDrawn(stream: string, events: readonly AppendEvent[], own: Transaction | undefined) {
    const server = this.#server
    const log = server.log(stream)
    if (log.sealed) throw new SseError('SEALED', 'The stream is sealed.')
    const { places, rows } = planned(log, events, server.clock.now(), log.drawn)
    log.drawn += rows.length
    const write = () => {
      for (const row of rows) put(log, row)
      server.trim(log)
      server.hint(stream)
    }
    await aWhile()
    if (own) own.writes.push(write)
    else write()
    return places
  }

  async open(stream: string): Promise<StreamView> {
    await this.#reach()
    const log = this.#server.log(stream)
    this.#server.trim(log)
    await aWhile()
    return viewOf(log)
  }

  async read(stream: string, offset: number, options: ReadOptions): Promise<Page | null> {
    await this.#reach()
    const log = this.#server.logs.get(stream)
    if (log) this.#server.trim(log)
    const page = log ? pageOf(log, offset, options) : null
    await aWhile()
    return page
  }

  async seal(stream: string): Promise<StreamView> {
    await this.#reach()
    const log = this.#server.log(stream)
    log.sealed = true
    this.#server.hint(stream)
    return viewOf(log)
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    await this.#reach()
    const { hints } = this.#server
    const watching = { hint: (to: Parameters<Hint>[0]) => hints.get(stream)?.has(watching) && hint(to) }
    hints.set(stream, (hints.get(stream) ?? new Set()).add(watching))
    await aWhile()
    return () => hints.get(stream)?.delete(watching)
  }

  async #reach(): Promise<void> {
    await aWhile()
    if (this.#server.isAway) throw new Error('connect ECONNREFUSED')
  }
}

function planned(
  log: Log,
  events: readonly AppendEvent[],
  time: number,
  newestOffset = log.head,
): { places: Appended[]; rows: Row[] } {
  const rows: Row[] = []
  const places = events.map((event): Appended => {
    const known = event.key && [...log.rows, ...rows].find(({ key }) => key === event.key)
    const newest = rows.at(-1) ?? { offset: newestOffset, tag: log.headTag }
    const row = known || { ...event, offset: newest.offset + 1, tag: randomTag(), time }
    if (!known) rows.push(row)
    const { offset, tag } = row
    return { epoch: log.epoch, offset, tag, duplicate: Boolean(known), previousTag: newest.tag }
  })
  return { places, rows }
}

function put(log: Log, row: Row): Row {
  log.rows = [...log.rows, row].sort((a, b) => a.offset - b.offset)
  if (row.offset > log.head) Object.assign(log, { head: row.offset, headTag: row.tag })
  return row
}

function viewOf({ epoch, rows, firstTag, head, headTag, sealed }: Log): StreamView {
  return { epoch, first: rows[0]?.offset ?? head + 1, firstTag, head, headTag, sealed }
}

function pageOf(log: Log, asked: number, { limit, maxBytes = Number.POSITIVE_INFINITY }: ReadOptions): Page {
  const view = viewOf(log)
  const places = [{ offset: view.first - 1, tag: view.firstTag }, ...log.rows, { offset: view.head, tag: view.headTag }]
  let bytes = 0
  const events = log.rows
    .filter(({ offset }) => offset > asked)
    .slice(0, limit)
    .filter(({ data }, index) => {
      bytes += data.length
      return index === 0 || bytes <= maxBytes
    })
    .map(({ offset, tag, event, data }) => ({ offset, tag, event, data }))
  return { ...view, tag: places.find(({ offset }) => offset === asked)?.tag, events }
}

/** Some turns of the event loop, never the same number. */
export async function aWhile(least = 0): Promise<void> {
  for (let turns = least + Math.floor(Math.random() * 3); turns > 0; turns--) {
    await new Promise<void>((resolve) => nextTurn(resolve))
  }
}
