import { randomEpoch, randomTag } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended, Page, ReadOptions, StoredEvent, StreamView } from '../protocol/store.js'
import type { PostgresConnections } from './postgres-connections.js'
import { NoAnswer } from './postgres-deadlines.js'
import { type PostgresClient, type PostgresQuery, sqlState } from './postgres-pool.js'
import { explained, hashOf, type PostgresNames, viewOf } from './postgres-schema.js'
import { fromText, shortHash, toText } from './postgres-text.js'

/** How often a statement is tried that another one comes in the way of. */
const MAX_TRIES = 5
/** No LIMIT and no sum goes beyond. */
const PLENTY = 2 ** 53 - 1

/** The statements of the log: each does its work in one go, on whatever client it is given. */
export class PostgresLog {
  readonly #names: PostgresNames
  readonly #maxEvents: number
  readonly #readSql: string
  readonly #createSql: string
  readonly #sealSql: string
  /** Of each transaction of a user, the statement that is under way. */
  readonly #inTurn = new WeakMap<PostgresClient, Promise<unknown>>()

  constructor(names: PostgresNames, maxEvents: number) {
    this.#names = names
    this.#maxEvents = Math.min(maxEvents, PLENTY)
    const { streams, read } = names
    this.#readSql = `SELECT o_view, o_asked::text, o_off::text, o_tag::text, o_event, o_data FROM ${read}($1, $2, $3, $4)`
    this.#createSql = `INSERT INTO ${streams} (hash, name, epoch) VALUES (${hashOf('$1')}, $1, $2) ON CONFLICT DO NOTHING`
    this.#sealSql = `INSERT INTO ${streams} AS s (hash, name, epoch, sealed_until)
      VALUES (${hashOf('$1')}, $1, $2, clock_timestamp() + $3 * interval '1 ms')
      ON CONFLICT (hash) DO UPDATE SET sealed_until = coalesce(s.sealed_until, excluded.sealed_until)
      RETURNING ${viewOf('s')}`
  }

  /** Appends a batch, all of it or nothing. @param lockMs - how long it may wait while the stream is locked. */
  async append(
    connections: PostgresConnections,
    stream: string,
    batch: readonly AppendEvent[],
    lockMs: number,
  ): Promise<Appended[]> {
    try {
      return await this.#append(connections, stream, batch, { lockMs })
    } catch (error) {
      if (error instanceof NoAnswer) {
        const message = `${error.message} The event may be stored or not.`
        throw new SseError('PUBLISH_TIMEOUT', message, { cause: error })
      }
      if (sqlState(error) !== '40001') throw error
      // The database is set to repeatable read, and others write in the stream all the time.
      const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED'
      return connections.transaction(begin, (_, query) =>
        this.#append({ query }, stream, batch, { isInside: true, lockMs }),
      )
    }
  }

  /**
   * Appends in a transaction of the user's, one after the other: a client runs one statement at a time.
   *
   * @param hint - whether a hint goes with it, to be delivered at its commit.
   */
  async appendIn(
    client: PostgresClient,
    stream: string,
    batch: readonly AppendEvent[],
    hint: boolean,
  ): Promise<Appended[]> {
    const append = () => this.#append(client, stream, batch, { isInside: true, hint })
    const appended = (this.#inTurn.get(client) ?? Promise.resolve()).then(append, append)
    this.#inTurn.set(client, appended)
    return appended
  }

  async #append(
    client: PostgresClient,
    stream: string,
    batch: readonly AppendEvent[],
    { isInside = false, hint = false, lockMs }: { isInside?: boolean; hint?: boolean; lockMs?: number },
  ): Promise<Appended[]> {
    const { events, indexOf } = distinct(batch)
    const keyed = events.some(({ key }) => key !== undefined)
    const tags = events.map(randomTag)
    const values = [
      toText(stream),
      randomEpoch(),
      tags,
      events.map(({ event }) => (event === undefined ? null : toText(event))),
      events.map(({ data }) => toText(data)),
      keyed ? events.map(({ key }) => (key === undefined ? null : toText(key))) : null,
      this.#maxEvents,
      hint ? this.#names.channel : null,
      hint ? shortHash(stream) : null,
      lockMs ?? null,
    ]
    // As text: what a user's parsers make of other types is not known here.
    const text = `SELECT o_epoch, o_head::text, o_head_tag::text, o_sealed::int::text AS o_sealed, array_to_json(o_known)::text AS o_known
      FROM ${this.#names.append}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
    const [row] = await this.#rows(client, { text, values }, !isInside)
    const { o_epoch, o_head, o_head_tag, o_sealed, o_known } = row as AppendRow
    if (o_sealed === '1')
      throw new SseError('SEALED', `The stream ${JSON.stringify(stream)} is sealed and takes no more events.`)
    const all = JSON.parse(o_known ?? '[]') as [at: number, offset: number, tag: number][]
    const known = new Map(all.map(([at, offset, tag]) => [at - 1, [offset, tag] as const]))
    let [offset, previousTag] = [Number(o_head), Number(o_head_tag)]
    const places = tags.map((tag, index): Appended => {
      const [at, its] = known.get(index) ?? []
      if (at !== undefined && its !== undefined) {
        return { epoch: o_epoch, offset: at, tag: its, duplicate: true, previousTag: 0 }
      }
      const place = { epoch: o_epoch, offset: ++offset, tag, duplicate: false, previousTag }
      previousTag = tag
      return place
    })
    return indexOf === undefined ? places : repeated(places, indexOf)
  }

  async read(client: PostgresClient, stream: string, offset: number, options: ReadOptions): Promise<Page | null> {
    const { limit, maxBytes = PLENTY } = options
    const values = [toText(stream), offset, Math.min(limit, PLENTY), Math.min(maxBytes, PLENTY)]
    const rows = await this.#rows(client, { text: this.#readSql, values, rowMode: 'array' })
    let page: Page | null = null
    const events: StoredEvent[] = []
    for (const row of rows) {
      const [view, asked, at, tag, event, data] = row as ReadRow
      if (view !== null) page = { ...parseView(view), tag: asked === null ? undefined : Number(asked), events }
      if (at === null) continue
      events.push({
        offset: Number(at),
        tag: Number(tag),
        event: event === null ? undefined : fromText(event),
        data: fromText(data),
      })
    }
    return page
  }

  /** Makes the record of the stream, if there is none. It waits for a transaction that is making it. */
  async create(connections: PostgresConnections, stream: string, lockMs: number): Promise<void> {
    await this.#locking(connections, { text: this.#createSql, values: [toText(stream), randomEpoch()] }, lockMs)
  }

  async seal(connections: PostgresConnections, stream: string, ttlMs: number, lockMs: number): Promise<StreamView> {
    const values = [toText(stream), randomEpoch(), ttlMs]
    const [row] = await this.#locking(connections, { text: this.#sealSql, values }, lockMs)
    return parseView((row as { concat_ws: string }).concat_ws)
  }

  #locking(connections: PostgresConnections, query: PostgresQuery, lockMs: number): Promise<unknown[]> {
    return connections.transaction('BEGIN ISOLATION LEVEL READ COMMITTED', async (_, run) => {
      await run({ text: `SET LOCAL lock_timeout = ${lockMs}` })
      return this.#rows({ query: run }, query, false)
    })
  }

  async #rows(
    client: PostgresClient,
    query: PostgresQuery & { rowMode?: 'array' },
    mayRepeat = true,
  ): Promise<unknown[]> {
    for (let tries = 1; ; tries++) {
      try {
        return (await client.query(query)).rows
      } catch (error) {
        // A database that is set to repeatable read, or a deadlock: nothing was done, and the next try sees what was.
        const state = sqlState(error)
        if (mayRepeat && tries < MAX_TRIES && (state === '40001' || state === '40P01')) continue
        throw explained(error)
      }
    }
  }
}

interface AppendRow {
  readonly o_epoch: string
  readonly o_head: string
  readonly o_head_tag: string
  readonly o_sealed: string
  readonly o_known: string | null
}

type ReadRow = [
  view: string | null,
  asked: string | null,
  offset: string | null,
  tag: string | null,
  event: string | null,
  data: string,
]

function parseView(text: string): StreamView {
  const [epoch = '', first, firstTag, head, headTag, sealed] = text.split(' ')
  return {
    epoch,
    first: Number(first),
    firstTag: Number(firstTag),
    head: Number(head),
    headTag: Number(headTag),
    sealed: sealed === 't',
  }
}

/** The events without those whose key comes a second time, and for each of the batch which of these it is. */
function distinct(batch: readonly AppendEvent[]): { events: readonly AppendEvent[]; indexOf: number[] | undefined } {
  const first = new Map<string, number>()
  const events: AppendEvent[] = []
  const indexOf = batch.map((event) => {
    const known = event.key === undefined ? undefined : first.get(event.key)
    if (known !== undefined) return known
    if (event.key !== undefined) first.set(event.key, events.length)
    return events.push(event) - 1
  })
  return events.length === batch.length ? { events: batch, indexOf: undefined } : { events, indexOf }
}

function repeated(places: readonly Appended[], indexOf: readonly number[]): Appended[] {
  const seen = new Set<number>()
  return indexOf.flatMap((index) => {
    const place = places[index]
    if (!place) return []
    const duplicate = place.duplicate || seen.has(index)
    seen.add(index)
    return [{ ...place, duplicate }]
  })
}
