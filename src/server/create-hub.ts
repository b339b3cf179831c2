import type { Hub, HubOptions } from './hub.js'
import { StreamHub } from './stream-hub.js'

/**
 * Creates a hub on a store.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const hub = createHub({ store: memoryStore() })
 * await hub.publish('news', { data: 'hello' })
 * ```
 */
export function createHub(options: HubOptions): Hub {
  return new StreamHub(options)
}
