import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createClient, RESP_TYPES } from '@redis/client'
import { Redis } from 'ioredis'
import { type RedisClient, type RedisStoreOptions, redisStore } from '../../src/stores/redis.js'
import type { ReceiptsHarness, StoreHarness } from '../../src/testing/index.js'
import { redisUrl } from '../testing/sources.js'

/** A client under test, and what a test does to it. */
export interface TestClient {
  readonly client: RedisClient
  close(): void
}

export type MakeClient = (url: string, hears: () => boolean, retries?: boolean) => Promise<TestClient>

const RETRY_MS = 20

/**
 * @param hears - whether hints get through; asked each time.
 * @param retries - whether a connection that is lost comes back.
 */
export const nodeRedis: MakeClient = async (url, hears, retries = true) => {
  const client = createClient({ url, socket: { reconnectStrategy: retries && RETRY_MS } })
  client.on('error', () => {})
  const duplicate = client.duplicate.bind(client)
  Object.assign(client, {
    duplicate(...args: Parameters<typeof duplicate>) {
      const twin = duplicate(...args)
      const subscribe = twin.subscribe.bind(twin)
      const heard = new Map<unknown, (message: string, channel: string) => void>()
      Object.assign(twin, {
        subscribe(channel: string, listener: (message: string, channel: string) => void) {
          const muted = heard.get(listener) ?? ((message, from) => hears() && listener(message, from))
          heard.set(listener, muted)
          return subscribe(channel, muted)
        },
        unsubscribe: (channel: string) => twin.UNSUBSCRIBE(channel),
      })
      return twin
    },
  })
  await client.connect()
  return { client, close: () => client.destroy() }
}

export const ioredis: MakeClient = async (url, hears, retries = true) => {
  const client = new Redis(url, { retryStrategy: () => (retries ? RETRY_MS : null) })
  client.on('error', () => {})
  const duplicate = client.duplicate.bind(client)
  Object.assign(client, {
    duplicate(...args: Parameters<typeof duplicate>) {
      const twin = duplicate(...args)
      const emit = twin.emit.bind(twin)
      Object.assign(twin, {
        emit: (name: string, ...rest: unknown[]) => (name !== 'message' || hears()) && emit(name, ...rest),
      })
      return twin
    },
  })
  await once(client, 'ready')
  return { client, close: () => client.disconnect() }
}

/** Stands between clients and a server; can be cut, and led to another one. */
export class Cable implements AsyncDisposable {
  target: URL
  readonly #server = createServer((near) => this.#join(near))
  readonly #sockets = new Set<Socket>()
  #isCut = false

  private constructor(target: string) {
    this.target = new URL(target)
  }

  static async to(target: string): Promise<Cable> {
    const cable = new Cable(target)
    await once(cable.#server.listen(0, '127.0.0.1'), 'listening')
    return cable
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** What is connected stays so, and nothing comes through any more. New connections work. */
  swallow(): void {
    for (const socket of this.#sockets) socket.unpipe().resume()
  }

  mend(target?: string): void {
    if (target) this.target = new URL(target)
    this.#isCut = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
  }

  #join(near: Socket): void {
    if (this.#isCut) {
      near.destroy()
      return
    }
    const far = connect(Number(this.target.port || 6379), this.target.hostname)
    const pairs = [
      [near, far],
      [far, near],
    ] as const
    for (const [one, other] of pairs) {
      this.#sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  }
}

/** Makes what is stored older: the times of the entries and of the record. */
const AGE = `
local shift = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'hash' then
    for _, field in ipairs({'m', 'a'}) do
      local time = redis.call('HGET', key, field)
      if time then redis.call('HSET', key, field, string.format('%.0f', time - shift)) end
    end
  elseif redis.call('TYPE', key).ok == 'stream' then
    local entries = redis.call('XRANGE', key, '-', '+')
    redis.call('DEL', key)
    for _, entry in ipairs(entries) do
      entry[2][2] = string.format('%.0f', entry[2][2] - shift)
      redis.call('XADD', key, entry[1], unpack(entry[2]))
    end
  end
end`

// More than the readers of any case fall behind.
const MAX_EVENTS = 64
const MAX_AGE_MS = 600_000

/** A part of the server under a prefix of its own. */
export class RedisWorld implements AsyncDisposable {
  readonly prefix = `steady-test-${randomUUID()}`
  readonly cable: Cable
  readonly admin: Admin
  readonly #make: MakeClient
  readonly #opened: { close(): void }[] = []
  hears = true
  retries = true

  constructor(cable: Cable, admin: Admin, make: MakeClient) {
    this.cable = cable
    this.admin = admin
    this.#make = make
  }

  static async begin(make: MakeClient, url = redisUrl): Promise<RedisWorld> {
    const admin = await adminOf(url)
    return new RedisWorld(await Cable.to(url), admin, make)
  }

  async client(): Promise<RedisClient> {
    const made = await this.#make(this.cable.url, () => this.hears, this.retries)
    this.#opened.push(made)
    return made.client
  }

  /** As another process has it: with a client of its own. */
  async store(options: Partial<RedisStoreOptions> = {}) {
    const store = redisStore({ client: await this.client(), prefix: this.prefix, ...options })
    this.#opened.unshift({ close: () => void store.close?.() })
    return store
  }

  async keys(): Promise<string[]> {
    const keys: string[] = []
    for await (const some of this.admin.scanIterator({ MATCH: `${this.prefix}:*`, COUNT: 1_000 })) keys.push(...some)
    return keys
  }

  async wipe(): Promise<void> {
    const keys = await this.keys()
    if (keys.length > 0) await this.admin.del(keys)
  }

  async snapshot(): Promise<() => Promise<void>> {
    const buffers = this.admin.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    const copies = await Promise.all((await this.keys()).map(async (key) => ({ key, dump: await buffers.dump(key) })))
    return async () => {
      await this.wipe()
      for (const { key, dump } of copies) {
        await this.admin.sendCommand(['RESTORE', key, '600000', dump])
      }
    }
  }

  async age(ms: number): Promise<void> {
    await this.admin.eval(AGE, { keys: await this.keys(), arguments: [String(ms)] })
  }

  async disconnect(): Promise<() => void> {
    this.cable.cut()
    return () => this.cable.mend()
  }

  harness(): StoreHarness {
    return {
      open: () => this.store({ maxEvents: MAX_EVENTS, maxAgeMs: MAX_AGE_MS }),
      wipe: () => this.wipe(),
      snapshot: () => this.snapshot(),
      dropHints: (on) => {
        this.hears = !on
      },
      disconnect: () => this.disconnect(),
      maxEvents: MAX_EVENTS,
      maxAgeMs: MAX_AGE_MS,
      advance: (ms) => this.age(ms),
      close: () => this[Symbol.asyncDispose](),
    }
  }

  receiptsHarness(ttlMs: number): ReceiptsHarness<never> {
    return {
      open: async () => (await this.store({ receiptTtlMs: ttlMs })).receipts,
      shared: true,
      ttlMs,
      disconnect: () => this.disconnect(),
      close: () => this[Symbol.asyncDispose](),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#opened) each.close()
    await this.cable[Symbol.asyncDispose]()
    // A server of the test's own may be gone by now.
    if (this.admin.isReady) await this.wipe()
    this.admin.destroy()
  }
}

export type Admin = Awaited<ReturnType<typeof adminOf>>

export async function adminOf(url: string) {
  const admin = createClient({ url })
  admin.on('error', () => {})
  return admin.connect()
}
