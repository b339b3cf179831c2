import { type Clock, systemClock } from '../protocol/clock.js'
import { randomEpoch } from '../protocol/cursor.js'
import { bound, show } from '../protocol/options.js'
import type { Receipts } from '../protocol/receipts.js'
import type {
  AppendEvent,
  Appended,
  AppendOptions,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoredEvent,
  StoreHost,
  StreamView,
} from '../protocol/store.js'
import { RedisCommands, texts } from './redis-commands.js'
import type { RedisPort } from './redis-connection.js'
import { RedisHints } from './redis-hints.js'
import { RedisScript } from './redis-line.js'
import { type RedisClient, redisPort } from './redis-port.js'
import { RedisReceipts } from './redis-receipts.js'
import { LOOK } from './redis-scripts.js'
import { RedisWriter } from './redis-writer.js'

export type { RedisClient } from './redis-port.js'

const look = new RedisScript(LOOK)

/** A Redis store: what it needs, and its bounds. */
export interface RedisStoreOptions {
  /**
   * A client or cluster of `@redis/client` 6 or `ioredis` 6, connected by you. Subscriptions take a duplicate of it, and
   * so do commands once one got no answer within 10 s. They end with the hub, or with the client.
   */
  client: RedisClient
  /** What every key begins with; without braces. Processes that share streams have the same one. */
  prefix: string
  /** How many events are retained per stream: so many at least, and up to an eighth (at most 100) more. Default: 10,000. */
  maxEvents?: number | undefined
  /** How long an event is retained, in milliseconds: so long at least, and up to a sixteenth more. Default: 3,600,000 (an hour). */
  maxAgeMs?: number | undefined
  /** How long the record of a stream is kept that nobody writes or reads, in milliseconds; never shorter than `maxAgeMs`. Later its cursors are answered with a gap `epoch`. Default: 604,800,000 (7 days). */
  idleTtlMs?: number | undefined
  /** How long a receipt is kept after its message was handled, in milliseconds. Default: 86,400,000 (24 h). */
  receiptTtlMs?: number | undefined
}

/** A store on Redis, with the receipts that `receive` takes. */
export interface RedisStore extends EventStore {
  readonly shared: true
  readonly receipts: Receipts<never>
}

/**
 * Keeps streams in Redis or Valkey 7 or later, for many processes and machines. The server must not evict
 * (`maxmemory-policy noeviction`): what it evicts becomes a gap. Redis answers before its disk and its replicas have
 * an event; what a power loss or a failover takes back is told to readers by a gap (`diverged`, `ahead` or `epoch`).
 *
 * `maxStreams` of the hub is not enforced: other processes may begin streams, too. `idleTtlMs` and `maxAgeMs` bound what
 * is kept. While the connection is down, appends and joins fail with `STORE_UNAVAILABLE`, and readers stay.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const client = await createClient({ url: 'redis://localhost:6379' }).connect()
 * const hub = createHub({ store: redisStore({ client, prefix: 'app' }) })
 * ```
 */
export function redisStore(options: RedisStoreOptions): RedisStore {
  const { client, prefix } = options
  if (typeof client !== 'object' || client === null) {
    throw new TypeError(`Expected \`client\` to be a client of \`@redis/client\` or \`ioredis\`, got ${show(client)}`)
  }
  if (typeof prefix !== 'string' || prefix === '' || /[{}]/.test(prefix)) {
    throw new TypeError(`Expected \`prefix\` to be a string without braces that is not empty, got ${show(prefix)}`)
  }
  const maxAgeMs = bound('maxAgeMs', options.maxAgeMs, 3_600_000)
  const idleTtlMs = Math.max(bound('idleTtlMs', options.idleTtlMs, 604_800_000), maxAgeMs)
  const limits = [bound('maxEvents', options.maxEvents, 10_000), maxAgeMs, idleTtlMs].map(numeral)
  const receiptTtlMs = bound('receiptTtlMs', options.receiptTtlMs, 86_400_000)
  return new Store(redisPort(client), prefix, limits, receiptTtlMs)
}

class Store implements RedisStore {
  readonly shared = true
  readonly pollMs = 1_000
  readonly receipts: Receipts<never>
  readonly #port: RedisPort
  readonly #prefix: string
  readonly #limits: readonly string[]
  readonly #commands: RedisCommands
  readonly #hints: RedisHints
  readonly #writer: RedisWriter
  readonly #hosts = new Set<StoreHost>()
  #clock: Clock = systemClock
  #sealedTtlMs = 86_400_000

  constructor(port: RedisPort, prefix: string, limits: readonly string[], receiptTtlMs: number) {
    this.#port = port
    this.#prefix = prefix
    this.#limits = limits
    this.#commands = new RedisCommands(port, () => this.#clock)
    this.#hints = new RedisHints(
      (to) => port.listen(to),
      () => this.#clock,
    )
    this.#writer = new RedisWriter(
      this.#commands,
      (stream) => this.#keysOf(stream),
      (stream) => this.#argsOf(stream),
    )
    this.receipts = new RedisReceipts(this.#commands, prefix, numeral(receiptTtlMs))
  }

  attach(host: StoreHost): () => void {
    this.#hosts.add(host)
    this.#clock = host.clock
    this.#sealedTtlMs = host.sealedTtlMs
    return () => {
      if (this.#hosts.delete(host) && this.#hosts.size === 0) this.close()
    }
  }

  async append(stream: string, events: readonly AppendEvent[], options?: AppendOptions): Promise<readonly Appended[]> {
    if (options?.transaction !== undefined) {
      throw new TypeError(
        'Expected no `transaction`: redisStore cannot append in one. Publish when yours is committed.',
      )
    }
    return events.length === 0 ? [] : this.#writer.append(stream, events)
  }

  async open(stream: string): Promise<StreamView> {
    return viewOf(await this.#ask(stream, { create: true }))
  }

  async read(stream: string, offset: number, options: ReadOptions): Promise<Page | null> {
    const answer = await this.#lookAt(stream, { offset, ...options })
    return answer && pageOf(answer)
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    this.#commands.check()
    return this.#hints.watch(this.#baseOf(stream), hint)
  }

  async seal(stream: string): Promise<StreamView> {
    return viewOf(await this.#ask(stream, { create: true, seal: true }))
  }

  /** Ends the connections that the store has made. The client stays yours to close. */
  close(): void {
    this.#hints.close()
    this.#commands.close()
  }

  async #ask(stream: string, how: { create: true; seal?: boolean }): Promise<readonly string[]> {
    const answer = await this.#lookAt(stream, { offset: 0, limit: 0, ...how })
    if (!answer) throw new Error(`Redis did not create the record of the stream ${JSON.stringify(stream)}.`)
    return answer
  }

  async #lookAt(
    stream: string,
    how: ReadOptions & { offset: number; create?: boolean; seal?: boolean },
  ): Promise<readonly string[] | null> {
    const { offset, limit, maxBytes = Number.POSITIVE_INFINITY, create = false, seal = false } = how
    const args = [
      ...this.#argsOf(stream),
      create ? randomEpoch() : '',
      seal ? String(this.#sealedTtlMs) : '',
      ...[offset, limit, maxBytes].map(numeral),
    ]
    return texts(await this.#commands.run(look, this.#keysOf(stream), args))
  }

  /** All keys of a stream, and its channel, have the part in braces in common: on a cluster, one slot. */
  #baseOf(stream: string): string {
    return `${this.#prefix}:{${escaped(stream)}}`
  }

  #keysOf(stream: string): readonly string[] {
    const base = this.#baseOf(stream)
    return [`${base}:meta`, `${base}:log`, `${base}:keys`]
  }

  #argsOf(stream: string): readonly string[] {
    return [...this.#limits, this.#port.cluster ? 'SPUBLISH' : 'PUBLISH', this.#baseOf(stream)]
  }
}

/** Without what would end the braces, and without halves of surrogate pairs, which UTF-8 cannot tell apart. */
function escaped(name: string): string {
  return name.replaceAll(/[%}]|\p{Surrogate}/gu, (each) => `%${each.charCodeAt(0).toString(16)};`)
}

/** As the scripts read it: what is without bound is more than anything. */
function numeral(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '1e16' : String(value)
}

function viewOf([epoch = '', first, firstTag, head, headTag, sealed]: readonly string[]): StreamView {
  return {
    epoch,
    first: Number(first),
    firstTag: Number(firstTag),
    head: Number(head),
    headTag: Number(headTag),
    sealed: sealed === '1',
  }
}

function pageOf(answer: readonly string[]): Page {
  const [tag, begin, ...rest] = answer.slice(6)
  const events: StoredEvent[] = []
  for (let at = 0; at < rest.length; at += 3) {
    const [own, event, data = ''] = rest.slice(at, at + 3)
    events.push({ offset: Number(begin) + at / 3, tag: Number(own), event: event || undefined, data })
  }
  return { ...viewOf(answer), tag: tag ? Number(tag) : undefined, events }
}
