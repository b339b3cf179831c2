import type { Clock } from '../protocol/clock.js'
import { type Place, parseCursor } from '../protocol/cursor.js'
import { encodeComment } from '../protocol/encode.js'
import { SseError } from '../protocol/error.js'
import type { PublishEvent } from '../protocol/event.js'
import { bound, duration, named } from '../protocol/options.js'
import type { Source } from '../protocol/source.js'
import type { AppendEvent, EventStore } from '../protocol/store.js'
import { Schedule } from './connection.js'
import { Deliveries } from './deliveries.js'
import { Diagnostics } from './diagnostics.js'
import { type HistoryPage, type HistoryQuery, readHistory } from './history.js'
import {
  ACKNOWLEDGE,
  type AcknowledgingHub,
  type Delivery,
  type Hub,
  type HubConnection,
  type HubOptions,
  type HubStats,
  JOIN,
  type Joined,
  type JoiningHub,
  type JoinRequest,
  type Published,
  type PublishOptions,
  type SubscribeOptions,
} from './hub.js'
import { checkedOptions, parseFrom } from './hub-options.js'
import { Joins } from './joins.js'
import { Pages } from './pages.js'
import { type Piped, type PipeOptions, pipe } from './pipe.js'
import { prepare, prepareAll } from './prepare.js'
import { Publisher } from './publisher.js'
import { race } from './race.js'
import { Registry } from './registry.js'
import { reportTo } from './report.js'
import { SourceFeed } from './source-feed.js'
import { storeError } from './store-error.js'
import { StreamSubscription, type Subscription } from './subscription.js'
import { Tails } from './tails.js'
import { Visit, type VisitHost } from './visit.js'

/** The hub: who is connected to what, and the way from each verb to the part that does it. */
export class StreamHub implements Hub, JoiningHub, AcknowledgingHub {
  readonly #options: ReturnType<typeof checkedOptions>
  readonly #store: EventStore
  readonly #clock: Clock
  readonly #schedule: Schedule
  readonly #tails: Tails
  readonly #joins: Joins
  readonly #publisher: Publisher
  readonly #registry: Registry
  readonly #host: VisitHost
  readonly #diagnostics: Diagnostics
  readonly [ACKNOWLEDGE]: Deliveries
  readonly #subscriptions = new Set<StreamSubscription>()
  readonly #detach: (() => void) | undefined
  #gaps = 0
  #closing: Promise<void> | undefined

  constructor(given: HubOptions) {
    const options = checkedOptions(given)
    const { store, clock, padBytes, maxStreams, sealedTtlMs } = options
    this.#options = options
    this.#store = store
    this.#clock = clock
    this.#schedule = new Schedule({ ...options, heartbeatPadBytes: padBytes })
    this.#tails = new Tails({ ...options, feed: options.source && ((stream) => this.#feed(stream)) })
    this.#diagnostics = new Diagnostics(this)
    this.#registry = new Registry(options)
    this[ACKNOWLEDGE] = new Deliveries(options, this.#registry)
    this.#joins = new Joins(this.#tails, new Pages(store), options, () => this.#assertOpen())
    this.#publisher = new Publisher({
      ...options,
      diagnostics: this.#diagnostics,
      makeRoom: () => this.#tails.makeRoom(),
      stored: (stream, events, places) => this.#tails.get(stream)?.offer(events, places),
    })
    this.#host = {
      ...options,
      registry: this.#registry,
      tails: this.#tails,
      deliveries: this[ACKNOWLEDGE],
      diagnostics: this.#diagnostics,
      schedule: this.#schedule,
      padding: padBytes > 0 ? encodeComment(' '.repeat(padBytes)) : '',
      isClosing: () => this.#closing !== undefined,
      gap: () => {
        this.#gaps++
      },
    }
    this.#detach = store.attach?.({ clock, maxStreams, sealedTtlMs })
  }

  publish(stream: string, event: PublishEvent, options?: PublishOptions): Promise<Published>
  publish(stream: string, events: readonly PublishEvent[], options?: PublishOptions): Promise<Published[]>
  publish(
    stream: string,
    input: PublishEvent | readonly PublishEvent[],
    options?: PublishOptions,
  ): Promise<Published | Published[]> {
    // No async function: the one promise that is needed is made here.
    try {
      this.#assertOpen()
      named('stream', stream)
      const { maxFrameBytes } = this.#options
      if (isArray(input))
        return Promise.resolve(this.#publisher.append(stream, prepareAll(input, maxFrameBytes), options))
      const under = this.#publisher.append(stream, [prepare(input, maxFrameBytes)], options)
      return under instanceof Promise ? under.then(first) : Promise.resolve(first(under))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async subscribe(stream: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const { cursor, signal } = options
    const from = parseFrom(options.from ?? 'now')
    signal?.throwIfAborted()
    const { log, start, leave } = await this.#joins.join(stream, { cursor, from, signal })
    const close = () => subscription.close()
    const subscription = new StreamSubscription(log, this.#store, start, () => {
      signal?.removeEventListener('abort', close)
      this.#subscriptions.delete(subscription)
      this.#tails.release(log.tail)
    })
    leave()
    signal?.addEventListener('abort', close, { once: true })
    this.#subscriptions.add(subscription)
    // Either may have come in the moment between the join and here.
    if (signal?.aborted || this.#closing !== undefined) close()
    return subscription
  }

  async read(stream: string, query: HistoryQuery = {}): Promise<HistoryPage> {
    this.#assertOpen()
    named('stream', stream)
    if (query.after !== undefined && query.before !== undefined) {
      throw new TypeError('Expected `after` or `before`, got both. Leave one out.')
    }
    const limit = bound('limit', query.limit, 100)
    return this.#inTime('STORE_UNAVAILABLE', () => readHistory(this.#store, stream, query, limit))
  }

  async seal(stream: string): Promise<void> {
    this.#assertOpen()
    named('stream', stream)
    await this.#inTime('PUBLISH_TIMEOUT', async () => this.#store.seal(stream))
    this.#tails.get(stream)?.hint()
  }

  async pipe(stream: string, events: AsyncIterable<PublishEvent>, options?: PipeOptions): Promise<Piped> {
    this.#assertOpen()
    named('stream', stream)
    return pipe(
      {
        publish: (event) => this.publish(stream, event),
        record: (gap) => this.#append(stream, { ...gap, key: undefined }),
        seal: () => this.seal(stream),
        room: (maxLead, signal) => this.#tails.get(stream)?.room(maxLead, signal),
      },
      events,
      options,
    )
  }

  disconnect(which: (connection: HubConnection) => boolean): number {
    return this.#registry.disconnect(which)
  }

  delivery(stream: string): Delivery[] {
    return this[ACKNOWLEDGE].of(named('stream', stream))
  }

  stats(): HubStats {
    return {
      connections: this.#registry.size,
      streams: this.#tails.active,
      opened: this.#registry.begun,
      closed: this.#registry.ended,
      heartbeats: this.#schedule.heartbeats.sent,
      gaps: this.#gaps,
    }
  }

  close({ graceMs }: { graceMs?: number | undefined } = {}): Promise<void> {
    const grace = duration('graceMs', graceMs, 2_000)
    this.#closing ??= this.#shutDown(grace)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async [JOIN]<Request>(stream: string, asked: JoinRequest<Request>): Promise<Joined<Request>> {
    this.#assertOpen()
    this.#registry.reserve()
    try {
      const { log, start, leave } = await this.#joins.join(stream, asked)
      const visit = new Visit(this.#host, stream, asked, log, start)
      leave()
      return visit
    } catch (error) {
      this.#registry.free()
      throw error
    }
  }

  #feed(stream: string): SourceFeed {
    const { source, clock, onError, store, maxFrameBytes, maxPendingBytes } = this.#options
    return new SourceFeed(source as Source, stream, clock, {
      prepare: (event) => {
        if (store.shared && event?.key === undefined) {
          throw new TypeError(
            'Expected each event of a source to have a `key`: on a store that several processes share, each of them brings it.',
          )
        }
        return prepare(event, maxFrameBytes)
      },
      append: (event) => this.#append(stream, event),
      maxPendingBytes,
      onError,
    })
  }

  async #append(stream: string, event: AppendEvent): Promise<Place> {
    const [published] = await this.#publisher.append(stream, [event])
    return parseCursor(published?.cursor ?? '') as Place
  }

  async #shutDown(graceMs: number): Promise<void> {
    const until = this.#clock.now() + graceMs
    this.#detach?.()
    for (const subscription of [...this.#subscriptions]) subscription.close()
    await this.#registry.shutDown(graceMs)
    const left = this.#tails.close()
    const late = () => new SseError('CLOSED', `A source was not left within ${graceMs} ms.`)
    const ms = Math.max(1, until - this.#clock.now())
    await race(left, { clock: this.#clock, ms, late }).catch((error) => reportTo(this.#options.onError, error))
  }

  /** Asks the store, and does not wait for ever. */
  async #inTime<T>(code: 'STORE_UNAVAILABLE' | 'PUBLISH_TIMEOUT', ask: () => Promise<T>): Promise<T> {
    const ms = this.#options.publishTimeoutMs
    const late = () => new SseError(code, `The store did not answer within ${ms} ms.`)
    try {
      return await race(ask(), { clock: this.#clock, ms, late })
    } catch (error) {
      throw storeError(error)
    }
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new SseError('CLOSED', 'The hub is closed.')
  }
}

function first(published: readonly Published[]): Published {
  return published[0] as Published
}

function isArray(input: PublishEvent | readonly PublishEvent[]): input is readonly PublishEvent[] {
  return Array.isArray(input)
}
