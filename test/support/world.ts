import { type NodeRequest, type StreamOptions, sse } from '../../src/adapters/node.js'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { type MemoryStoreOptions, memoryStore } from '../../src/stores/memory.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtual-clock.js'
import { type RawReader, type ReadOptions, read } from './raw-reader.js'
import { listen, type Served, type ServeOptions } from './served.js'

/** A hub in virtual time behind a real socket. The stream is the path. */
export interface World extends AsyncDisposable {
  readonly clock: VirtualClock
  readonly hub: Hub
  readonly served: Served
  read(path: string, options?: ReadOptions): Promise<RawReader>
}

export interface WorldOptions {
  readonly hub?: Partial<HubOptions>
  readonly store?: MemoryStoreOptions
  readonly stream?: Partial<StreamOptions<NodeRequest>>
  readonly serve?: ServeOptions
}

export const pathOf = (request: { readonly url?: string | undefined }) =>
  new URL(request.url ?? '/', 'http://x').pathname.slice(1)

export async function world(options: WorldOptions = {}): Promise<World> {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(options.store), clock, ...options.hub })
  const served = await listen(sse(hub, { stream: pathOf, ...options.stream }), options.serve)
  return {
    clock,
    hub,
    served,
    read: (path, asked) => read(served.address, path, asked),
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]()
      await hub.close()
    },
  }
}

/** Publishes `count` events whose data are their numbers, from 1, and returns their cursors; the first is at index 1. */
export async function publishMany(hub: Hub, stream: string, count: number, from = 1): Promise<string[]> {
  const cursors: string[] = []
  for (let n = from; n < from + count; n++) cursors[n] = (await hub.publish(stream, { data: String(n) })).cursor
  return cursors
}

/** '3', '4', '5' */
export function numbers(from: number, to: number): string[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => String(from + index))
}
