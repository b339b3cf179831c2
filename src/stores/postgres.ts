import { type Clock, systemClock } from '../protocol/clock.js'
import { bound, duration, show } from '../protocol/options.js'
import type { Receipts } from '../protocol/receipts.js'
import type {
  AppendEvent,
  Appended,
  AppendOptions,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoreHost,
  StreamView,
} from '../protocol/store.js'
import { PostgresConnections } from './postgres-connections.js'
import { PostgresLocks } from './postgres-locks.js'
import { PostgresLog } from './postgres-log.js'
import type { PostgresClient, PostgresPool } from './postgres-pool.js'
import { PostgresReceipts } from './postgres-receipts.js'
import { type PostgresSchemaOptions, postgresNames, postgresSchema } from './postgres-schema.js'
import { PostgresSweep } from './postgres-sweep.js'
import { PostgresWatch } from './postgres-watch.js'
import { PostgresWriters } from './postgres-writer.js'

export type {
  PostgresClient,
  PostgresPool,
  PostgresPoolClient,
  PostgresQuery,
  PostgresResult,
} from './postgres-pool.js'
export { type PostgresSchemaOptions, postgresSchema } from './postgres-schema.js'

/** A PostgreSQL store: what it needs, and its bounds. */
export interface PostgresStoreOptions extends PostgresSchemaOptions {
  /** A `Pool` of `pg`. It stays yours: handle its `error` event, and end it when the hub is closed. */
  pool: PostgresPool
  /**
   * A pool that lends the one connection that listens, held while there are readers. It needs a session of its own:
   * give one with a direct address here when `pool` goes through a pooler of transactions. Default: `pool`.
   */
  listen?: PostgresPool | undefined
  /** Whether processes tell each other by LISTEN and NOTIFY; without, they only poll. Default: `true`. */
  hints?: boolean | undefined
  /**
   * How often it is looked whether streams moved without a hint, in milliseconds; one statement looks at up to 1,000
   * streams that have readers here. Default: 1,000; 100 without hints.
   */
  pollMs?: number | undefined
  /** How many events are retained per stream: so many at least, and up to an eighth (at most 256) more. Default: 100,000. */
  maxEvents?: number | undefined
  /** How long an event is retained, in milliseconds: so long at least; then it goes with one of the next sweeps. Default: 86,400,000 (24 h). */
  maxAgeMs?: number | undefined
  /** How long the record of a stream is kept that has no event and no reader, in milliseconds. Later its cursors are answered with a gap `epoch`. Default: 604,800,000 (7 days). */
  idleTtlMs?: number | undefined
  /** How often what is too old is looked for while a hub is open, in milliseconds. Default: 30,000. */
  sweepMs?: number | undefined
  /**
   * How long a statement may take, in milliseconds. Then it fails, and its connection is destroyed: a network may have
   * swallowed it. A stream that a transaction keeps locked is waited for a fifth less. Default: 10,000.
   */
  statementTimeoutMs?: number | undefined
  /**
   * The most that waits in this process to be written, in characters of data, half of it for one stream; then appends
   * fail with `OVERLOADED`. Default: 16 Mi.
   */
  maxPendingBytes?: number | undefined
  /** How long a receipt is kept after its message was handled, in milliseconds. Default: 86,400,000 (24 h). */
  receiptTtlMs?: number | undefined
}

/** A store on PostgreSQL, with the receipts that `receive` takes. */
export interface PostgresStore extends EventStore {
  readonly shared: true
  readonly receipts: Receipts<PostgresClient>
  /** Makes the tables, or brings them up to date. Idempotent; several processes may do it at once. The SQL is that of `postgresSchema()`. */
  migrate(): Promise<void>
}

/**
 * Keeps streams in PostgreSQL 13 or later, for many processes and machines: what `publish` confirms is as durable as
 * the database makes a commit. `publish(…, { transaction: client })` publishes inside a transaction of yours: readers
 * see the event when that commits, and never if it does not. Until then the stream is locked, and everybody else who
 * publishes in it waits: publish last, and commit soon.
 *
 * `maxStreams` of the hub is not enforced: other processes may begin streams, too. `idleTtlMs` and `maxAgeMs` bound what
 * is kept. While the database is away, appends and joins fail with `STORE_UNAVAILABLE`, and readers stay.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const pool = new Pool({ connectionString: 'postgres://localhost/app' }).on('error', console.error)
 * const store = postgresStore({ pool })
 * await store.migrate()
 * const hub = createHub({ store })
 * ```
 */
export function postgresStore(options: PostgresStoreOptions): PostgresStore {
  return new Store(options)
}

/** Of `statementTimeoutMs`, the part that a lock is waited for: so the database says that nothing was written, in time. */
const LOCK_SHARE = 0.8
/** Of a pool that does not say how many connections it has, and as `pg` has it. */
const POOL_MAX = 10

/** What the database takes as a time, where there is no bound: 300 years. */
const FOR_EVER_MS = 1e13

class Store implements PostgresStore {
  readonly shared = true
  readonly receipts: Receipts<PostgresClient>
  readonly #pool: PostgresPool
  readonly #connections: PostgresConnections
  readonly #locks: PostgresLocks
  readonly #hints: boolean
  readonly #schema: string
  readonly #log: PostgresLog
  readonly #watch: PostgresWatch
  readonly #writers: PostgresWriters
  readonly #sweep: PostgresSweep
  readonly #creating = new Map<string, Promise<void>>()
  readonly #hosts = new Set<StoreHost>()
  #clock: Clock = systemClock
  #sealedTtlMs = 86_400_000

  constructor(options: PostgresStoreOptions) {
    const { hints = true } = options
    const pool = checkedPool('pool', options?.pool)
    const listen = options.listen === undefined ? pool : checkedPool('listen', options.listen)
    const poolMax = pool.options?.max ?? POOL_MAX
    if (hints && listen === pool && poolMax === 1) {
      throw new TypeError(
        'Expected `pool` to have a `max` of at least 2, got 1: one connection is held to listen. Give `listen` a pool of its own, or `hints: false`.',
      )
    }
    const lasting = (name: 'maxAgeMs' | 'idleTtlMs' | 'receiptTtlMs', fallback: number) =>
      Math.min(bound(name, options[name], fallback), FOR_EVER_MS)
    const names = postgresNames(options)
    const clock = () => this.#clock
    const pollMs = duration('pollMs', options.pollMs, hints ? 1_000 : 100)
    const timeoutMs = duration('statementTimeoutMs', options.statementTimeoutMs, 10_000)
    const connections = new PostgresConnections(pool, clock, timeoutMs)
    const listening = listen === pool ? connections : new PostgresConnections(listen, clock, timeoutMs)
    this.#pool = pool
    this.#connections = connections
    this.#hints = hints
    this.#schema = postgresSchema(options)
    this.#log = new PostgresLog(names, bound('maxEvents', options.maxEvents, 100_000))
    this.#watch = new PostgresWatch({ connections, listen: hints ? listening : undefined, names, pollMs, clock })
    this.#locks = new PostgresLocks({
      clock,
      patienceMs: Math.ceil(timeoutMs * LOCK_SHARE),
      // At least half of them, and the one that listens, are for all who do not wait.
      maxWaiting: Math.floor((poolMax - (hints && listen === pool ? 1 : 0)) / 2),
    })
    this.#writers = new PostgresWriters({
      append: (stream, events) => this.#append(stream, events),
      clock,
      maxChars: bound('maxPendingBytes', options.maxPendingBytes, 16 * 1024 * 1024),
      timeoutMs,
    })
    this.#sweep = new PostgresSweep({
      connections,
      names,
      maxAgeMs: lasting('maxAgeMs', 86_400_000),
      idleTtlMs: lasting('idleTtlMs', 604_800_000),
      sweepMs: duration('sweepMs', options.sweepMs, 30_000),
      watched: () => this.#watch.streams,
    })
    this.receipts = new PostgresReceipts(connections, names, lasting('receiptTtlMs', 86_400_000))
  }

  async migrate(): Promise<void> {
    await this.#pool.query({ text: this.#schema })
  }

  attach(host: StoreHost): () => void {
    this.#hosts.add(host)
    this.#clock = host.clock
    this.#sealedTtlMs = host.sealedTtlMs
    if (this.#hosts.size === 1) this.#sweep.start(host.clock)
    return () => {
      if (this.#hosts.delete(host) && this.#hosts.size === 0) this.#sweep.stop()
    }
  }

  async append(stream: string, events: readonly AppendEvent[], options?: AppendOptions): Promise<readonly Appended[]> {
    const { transaction, signal } = options ?? {}
    if (transaction === undefined) return this.#writers.append(stream, events, signal)
    return this.#log.appendIn(checkedClient(transaction, this.#pool), stream, events, this.#hints)
  }

  async open(stream: string): Promise<StreamView> {
    for (;;) {
      const page = await this.read(stream, 0, { limit: 0 })
      if (page) {
        const { tag: _, events: __, ...view } = page
        return view
      }
      await this.#create(stream)
    }
  }

  async read(stream: string, offset: number, options: ReadOptions): Promise<Page | null> {
    const page = await this.#log.read(this.#connections, stream, offset, options)
    if (page) this.#watch.seen(stream, page)
    return page
  }

  watch(stream: string, hint: Hint): Promise<() => void> {
    return this.#watch.watch(stream, hint)
  }

  async seal(stream: string): Promise<StreamView> {
    // What was published before is in it.
    await this.#writers.settled(stream)
    const ttlMs = Math.min(this.#sealedTtlMs, FOR_EVER_MS)
    const view = await this.#locks.run(stream, (lockMs) => this.#log.seal(this.#connections, stream, ttlMs, lockMs))
    this.#watch.moved(stream)
    return view
  }

  close(): void {
    this.#sweep.stop()
    this.#watch.close()
  }

  /** One for all who open the stream at once: a transaction that is making it keeps them waiting. */
  #create(stream: string): Promise<void> {
    const present = this.#creating.get(stream)
    if (present !== undefined) return present
    const creating = this.#locks
      .run(stream, (lockMs) => this.#log.create(this.#connections, stream, lockMs))
      .finally(() => this.#creating.delete(stream))
    this.#creating.set(stream, creating)
    return creating
  }

  async #append(stream: string, events: readonly AppendEvent[]): Promise<Appended[]> {
    const places = await this.#locks.run(stream, (lockMs) =>
      this.#log.append(this.#connections, stream, events, lockMs),
    )
    const newest = places.findLast(({ duplicate }) => !duplicate)
    if (newest) this.#watch.moved(stream, { epoch: newest.epoch, head: newest.offset, tag: newest.tag })
    return places
  }
}

function checkedPool(option: string, pool: PostgresPool | undefined): PostgresPool {
  if (typeof pool?.query === 'function' && typeof pool.connect === 'function') return pool
  throw new TypeError(`Expected \`${option}\` to be a Pool of \`pg\`, got ${show(pool)}`)
}

function checkedClient(transaction: unknown, pool: PostgresPool): PostgresClient {
  if (transaction === pool) {
    throw new TypeError(
      'Expected `transaction` to be the client that your transaction is on, got the pool. Take one with `pool.connect()`.',
    )
  }
  if (
    typeof transaction === 'object' &&
    transaction !== null &&
    'query' in transaction &&
    typeof transaction.query === 'function'
  ) {
    return transaction as PostgresClient
  }
  throw new TypeError(`Expected \`transaction\` to be a client of \`pg\`, got ${show(transaction)}`)
}
