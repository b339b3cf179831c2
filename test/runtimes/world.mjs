// What the smoke is run against: one hub, and a few addresses to move it by. It stands in the runtime under test.
import { memoryStore } from 'steady-sse/memory'
import { createHub } from 'steady-sse/server'

export const HEARTBEAT_MS = 400
export const WRITE_TIMEOUT_MS = 1_000

const MIB = 1_048_576

export function createWorld() {
  const hub = createHub({
    // Room for what a stalled reader does not take, so that it is behind and not cut off by retention.
    store: memoryStore({ maxBytes: 64 * MIB }),
    heartbeatMs: HEARTBEAT_MS,
    writeTimeoutMs: WRITE_TIMEOUT_MS,
    retryMs: [100, 100],
  })
  return {
    hub,
    /** The options of `sse(hub, …)`: the stream is the end of the path. */
    options: { stream: ({ url }) => pathOf(url).slice('/events/'.length), from: 'earliest' },
    isControl: (url) => pathOf(url).startsWith('/control/'),
    /** Does what the address says, and returns what to answer as JSON. */
    async control(url) {
      const { pathname, searchParams } = new URL(url, 'http://x')
      const stream = searchParams.get('stream') ?? ''
      const number = (name) => Number(searchParams.get(name) ?? 0)
      switch (pathname) {
        case '/control/publish': {
          const filling = 'é'.repeat(number('bytes') / 2)
          const events = Array.from({ length: number('count') }, (_, at) => ({
            data: { n: number('first') + at, filling },
          }))
          const [published] = (await hub.publish(stream, events)).slice(-1)
          return published
        }
        case '/control/seal':
          return (await hub.seal(stream)) ?? {}
        case '/control/stats':
          return hub.stats()
        default:
          throw new Error(`There is no ${pathname}`)
      }
    },
  }
}

function pathOf(url) {
  return new URL(url, 'http://x').pathname
}
