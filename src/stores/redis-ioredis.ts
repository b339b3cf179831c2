import { show } from '../protocol/options.js'
import {
  isUnknownCommand,
  type Listener,
  type RedisConnection,
  type RedisDuplicate,
  type RedisListening,
  type RedisPort,
} from './redis-connection.js'

/** What is used of a client or a cluster of `ioredis`. */
interface Ioredis {
  readonly status: string
  readonly isCluster: boolean
  readonly options: { readonly keyPrefix?: string | undefined }
  call(command: string, args: readonly string[]): Promise<unknown>
  duplicate(...args: unknown[]): Ioredis
  connect(): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  ssubscribe(channel: string): Promise<unknown>
  sunsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): unknown
  disconnect(): void
}

export function isIoredis(client: object): client is Ioredis {
  return 'call' in client && 'isCluster' in client && 'status' in client
}

/** The port of `ioredis`. */
export function ioredisPort(client: Ioredis): RedisPort {
  const { isCluster: cluster } = client
  const { keyPrefix } = client.options
  if (keyPrefix) {
    throw new TypeError(
      `Expected \`client\` without the option \`keyPrefix\`, got ${show(keyPrefix)}; use the \`prefix\` of \`redisStore\``,
    )
  }
  return {
    ...connectionOf(client),
    cluster,
    duplicate: (ended) => openDuplicate(cluster ? client.duplicate([], LAZY) : client.duplicate(LAZY), ended),
    listen: (to) => (cluster ? listenSharded(duplicateCluster(client), to) : listenPlain(duplicateClient(client), to)),
    onEnd: (run) => void client.on('end', run),
  }
}

const connectionOf = (client: Ioredis): RedisConnection => ({
  isReady: () => client.status === 'ready',
  command: (_key, [name = '', ...args]) => client.call(name, args),
})

const LAZY = { lazyConnect: true }

function openDuplicate(connection: Ioredis, ended: () => void): RedisDuplicate {
  connection.on('error', () => {})
  connection.on('end', ended)
  return { ...connectionOf(connection), opened: connected(connection), close: () => connection.disconnect() }
}

// It would subscribe again after it is ready, unconfirmed; so that is done here.
const duplicateClient = (client: Ioredis) =>
  client.duplicate({ ...LAZY, autoResubscribe: false, maxRetriesPerRequest: null })

const duplicateCluster = (client: Ioredis) => client.duplicate([], { ...LAZY, shardedSubscribers: true })

/** How many channels one command subscribes to. */
const CHANNELS_AT_ONCE = 500

function listenPlain(connection: Ioredis, to: Listener): RedisListening {
  const channels = new Set<string>()
  let isOpen = false
  const again = async () => {
    const all = [...channels]
    for (let at = 0; at < all.length; at += CHANNELS_AT_ONCE) {
      await connection.subscribe(...all.slice(at, at + CHANNELS_AT_ONCE))
    }
    to.restored()
  }
  connection.on('error', () => {})
  // When it fails, the connection was lost once more, and this comes once more.
  connection.on('ready', () => void (isOpen && again().catch(() => {})))
  connection.on('end', () => to.ended())
  connection.on('message', (channel: string, message: string) => to.message(channel, message))
  const opened = connected(connection).then(() => {
    isOpen = true
  })
  return {
    opened,
    async subscribe(channel) {
      channels.add(channel)
      await connection.subscribe(channel)
    },
    async unsubscribe(channel) {
      channels.delete(channel)
      await connection.unsubscribe(channel)
    },
    close: () => connection.disconnect(),
  }
}

function listenSharded(connection: Ioredis, to: Listener): RedisListening {
  let isSharded = true
  connection.on('error', () => {})
  for (const event of ['ready', 'subscribersReady', '+subscriber']) connection.on(event, () => to.restored())
  connection.on('end', () => to.ended())
  for (const event of ['message', 'smessage']) {
    connection.on(event, (channel: string, message: string) => to.message(channel, message))
  }
  return {
    opened: connected(connection),
    async subscribe(channel) {
      if (!isSharded) return void (await connection.subscribe(channel))
      try {
        await connection.ssubscribe(channel)
      } catch (error) {
        if (!isUnknownCommand(error)) throw error
        isSharded = false
        await connection.subscribe(channel)
      }
    },
    async unsubscribe(channel) {
      if (isSharded) await connection.sunsubscribe(channel)
      else await connection.unsubscribe(channel)
    },
    close: () => connection.disconnect(),
  }
}

async function connected(connection: Ioredis): Promise<void> {
  try {
    await connection.connect()
  } catch (error) {
    connection.disconnect()
    throw error
  }
}
