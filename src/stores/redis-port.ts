import { show } from '../protocol/options.js'
import type { RedisPort } from './redis-connection.js'
import { ioredisPort, isIoredis } from './redis-ioredis.js'
import { isNodeRedis, nodeRedisPort } from './redis-node-redis.js'

/**
 * A connected client: of `@redis/client` (or `redis`) by `createClient` or `createCluster`, or of `ioredis` by
 * `new Redis` or `new Cluster`.
 */
export interface RedisClient {
  /** Makes a client with the same options and a connection of its own. */
  duplicate(...args: never[]): object
  /** Listens to what happens to the connection. */
  on(event: string, listener: (...args: unknown[]) => void): object
}

/** The one port to either client, told by their shape. */
export function redisPort(client: RedisClient): RedisPort {
  if (isIoredis(client)) return ioredisPort(client)
  if (isNodeRedis(client)) return nodeRedisPort(client)
  throw new TypeError(
    `Expected \`client\` to be a client or a cluster of \`@redis/client\` or \`ioredis\`, got ${show(client)}`,
  )
}
