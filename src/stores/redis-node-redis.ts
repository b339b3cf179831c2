import {
  isUnknownCommand,
  type Listener,
  type RedisConnection,
  type RedisDuplicate,
  type RedisListening,
  type RedisPort,
} from './redis-connection.js'

type OnMessage = (message: string, channel: string) => void

/** What is used of a client or a cluster of `@redis/client`. */
interface NodeRedis {
  readonly isReady: boolean
  sendCommand(...args: unknown[]): Promise<unknown>
  duplicate(overrides?: object): NodeRedis
  connect(): Promise<unknown>
  subscribe(channel: string, listener: OnMessage): Promise<unknown>
  unsubscribe(channel: string, listener: OnMessage): Promise<unknown>
  sSubscribe(channel: string, listener: OnMessage): Promise<unknown>
  sUnsubscribe(channel: string, listener: OnMessage): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): unknown
  destroy(): void
}

export function isNodeRedis(client: object): client is NodeRedis {
  // Its Sentinel client takes commands in another way.
  return 'sendCommand' in client && 'isReady' in client && 'sSubscribe' in client && !('getSentinelNode' in client)
}

/** The port of `@redis/client`. */
export function nodeRedisPort(client: NodeRedis): RedisPort {
  const cluster = 'masters' in client
  return {
    ...connectionOf(client, cluster),
    cluster,
    duplicate: (ended) => openDuplicate(client.duplicate(), cluster, ended),
    listen: (to) => listen(client.duplicate(cluster ? { minimizeConnections: true } : {}), cluster, to),
    onEnd: (run) => void client.on(cluster ? 'disconnect' : 'end', run),
  }
}

const connectionOf = (client: NodeRedis, cluster: boolean): RedisConnection => ({
  isReady: () => client.isReady,
  command: (key, args) => (cluster ? client.sendCommand(key, false, args) : client.sendCommand(args)),
})

function openDuplicate(connection: NodeRedis, cluster: boolean, ended: () => void): RedisDuplicate {
  connection.on('error', () => {})
  connection.on('terminated', ended)
  return { ...connectionOf(connection, cluster), opened: connected(connection), close: () => close(connection) }
}

function listen(connection: NodeRedis, cluster: boolean, to: Listener): RedisListening {
  let isOpen = false
  const restored = () => {
    if (isOpen) to.restored()
  }
  // An error without a listener would end the process. It reconnects, subscribes again, and then is ready.
  connection.on('error', () => {})
  connection.on(cluster ? 'node-ready' : 'ready', restored)
  connection.on('sharded-channel-moved', restored)
  connection.on('terminated', () => to.ended())
  const opened = connected(connection).then(() => {
    isOpen = true
  })
  let isSharded = cluster
  const hear: OnMessage = (message, channel) => to.message(channel, message)
  return {
    opened,
    async subscribe(channel) {
      if (!isSharded) return void (await connection.subscribe(channel, hear))
      try {
        await connection.sSubscribe(channel, hear)
      } catch (error) {
        if (!isUnknownCommand(error)) throw error
        isSharded = false
        await connection.subscribe(channel, hear)
      }
    },
    async unsubscribe(channel) {
      if (isSharded) await connection.sUnsubscribe(channel, hear)
      else await connection.unsubscribe(channel, hear)
    },
    close: () => close(connection),
  }
}

async function connected(connection: NodeRedis): Promise<void> {
  try {
    await connection.connect()
  } catch (error) {
    close(connection)
    throw error
  }
}

function close(connection: NodeRedis): void {
  try {
    connection.destroy()
  } catch {
    // It was closed already.
  }
}
