// What there is to play with: one stream, the hub in front of its store, and what the page may do to them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { acknowledge, receive, sse } from 'steady-sse/node'
import { createHub, type Hub } from 'steady-sse/server'
import type { Storage } from './storage.js'

const STREAM = 'playground'
const MOST_AT_ONCE = 1_000
/** More than the store keeps, published at once, would leave even a fast reader no chance. */
const BATCH = 50
const BATCH_MS = 25
const MOST_PADDING = 4_096
const MOST_TEXT = 200
const FLOW_MS = 3_000
/** Faster than the defaults, so that there is something to see. */
const HEARTBEAT_MS = 2_000
const NO_HEARTBEAT_MS = 600_000

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** Where one connection is, in the numbers of its events. */
export interface Progress {
  readonly written: number | null
  readonly acknowledged: number | null
}

export interface Snapshot {
  readonly published: number
  readonly sealed: boolean
  readonly heartbeats: boolean
  readonly flowing: boolean
  readonly connections: Readonly<Record<string, Progress>>
}

export class World {
  readonly #storage: Storage
  #hub: Hub
  #routes: Readonly<Record<string, Handler>>
  /** The number of the newest event. Each event carries its own, so that the page can count for itself. */
  #published = 0
  #sealed = false
  #heartbeats = true
  #flow: NodeJS.Timeout | undefined
  #restarted: Promise<void> = Promise.resolve()

  private constructor(storage: Storage) {
    this.#storage = storage
    const { hub, routes } = this.#make()
    this.#hub = hub
    this.#routes = routes
  }

  static async open(storage: Storage, { flowing = true } = {}): Promise<World> {
    const world = new World(storage)
    await world.#begin()
    world.flow(flowing)
    return world
  }

  /** Answers what comes through a path. */
  readonly handle: Handler = (request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const route = Object.hasOwn(this.#routes, path) ? this.#routes[path] : undefined
    if (route) route(request, response)
    else response.writeHead(404).end()
  }

  async publish(count: number, paddingBytes = 0): Promise<void> {
    const padding = paddingBytes > 0 ? '.'.repeat(Math.min(paddingBytes, MOST_PADDING)) : undefined
    for (let left = Math.min(count, MOST_AT_ONCE); left > 0; left -= BATCH) {
      if (padding) await delay(BATCH_MS)
      await this.#append(Array.from({ length: Math.min(left, BATCH) }, () => ({ padding })))
    }
  }

  /** The server ends, and another one starts: with the same memory, or with none. */
  restart(forget: boolean): Promise<void> {
    // One after the other, however fast the visitor is.
    this.#restarted = this.#restarted.catch(() => {}).then(() => this.#restart(forget))
    return this.#restarted
  }

  async #restart(forget: boolean): Promise<void> {
    await this.#hub.close({ graceMs: 500 })
    this.#storage.close(forget)
    const { hub, routes } = this.#make()
    this.#hub = hub
    this.#routes = routes
    await this.#begin()
  }

  async heartbeats(on: boolean): Promise<void> {
    this.#heartbeats = on
    // Where events flow there is no silence, and nothing to see.
    if (!on) this.flow(false)
    await this.restart(false)
  }

  flow(on: boolean): void {
    clearInterval(this.#flow)
    this.#flow = on ? setInterval(() => this.publish(1).catch(() => {}), FLOW_MS) : undefined
  }

  async seal(): Promise<void> {
    this.flow(false)
    await this.#hub.seal(STREAM)
    this.#sealed = true
  }

  snapshot(): Snapshot {
    const connections = this.#hub.delivery(STREAM).map((delivery) => {
      const written = delivery.unwritten === null ? null : this.#published - delivery.unwritten
      const { acknowledgedAt, unacknowledged } = delivery
      const isKnown = written !== null && acknowledgedAt !== null && unacknowledged !== null
      return [delivery.connection.id, { written, acknowledged: isKnown ? written - unacknowledged : null }]
    })
    return {
      published: this.#published,
      sealed: this.#sealed,
      heartbeats: this.#heartbeats,
      flowing: this.#flow !== undefined,
      connections: Object.fromEntries(connections),
    }
  }

  async close(): Promise<void> {
    this.flow(false)
    await this.#hub.close({ graceMs: 500 })
    this.#storage.close(false)
  }

  #make() {
    const { store, receipts } = this.#storage.open()
    const hub = createHub({
      store,
      heartbeatMs: this.#heartbeats ? HEARTBEAT_MS : NO_HEARTBEAT_MS,
      retryMs: [1_000, 2_000],
    })
    const take = receive(
      async ({ text }: { text?: unknown }, { key }) => {
        if (typeof text !== 'string' || text === '' || text.length > MOST_TEXT)
          throw new Response(null, { status: 422 })
        if (this.#sealed) throw new Response(null, { status: 409 })
        // The same key for the event: even if the receipt were lost, the log holds it once.
        await this.#append([{ text }], key)
      },
      { receipts },
    )
    const routes: Record<string, Handler> = {
      '/events': sse(hub, { stream: () => STREAM }),
      '/acks': acknowledge(hub),
      '/messages': take,
    }
    return { hub, routes }
  }

  /** Goes on behind the newest event that is remembered, or with the first one. */
  async #begin(): Promise<void> {
    const { items } = await this.#hub.read(STREAM, { limit: 1 })
    const newest = items.findLast((item) => item.type === 'event')
    this.#published = newest ? newest.json<{ n: number }>().n : 0
    this.#sealed = false
    if (!newest) await this.publish(1)
  }

  /** Publishes what is given, with a number each. What is refused uses none up. */
  async #append(data: readonly object[], key?: string): Promise<void> {
    const first = this.#published + 1
    const at = Date.now()
    this.#published += data.length
    try {
      const events = data.map((fields, index) => ({ data: { n: first + index, at, ...fields }, key }))
      await this.#hub.publish(STREAM, events)
    } catch (error) {
      this.#published -= data.length
      throw error
    }
  }
}
