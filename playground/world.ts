import { memoryStore } from 'steady-sse/memory'
import { type NodeRequest, type NodeResponse, sse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'

/** Small, so that the page can outrun it and see a gap `expired`. */
const MAX_EVENTS = 500
const MAX_AT_ONCE = 1_000
const STREAM = 'playground'

/** Something that the page asks the server to do, with the query of its request. Its answer is shown to the user. */
type Control = (query: URLSearchParams) => Promise<string>

/** What there is to play with: a stream, the hub and the store behind it, and ways to disturb them. */
export class World {
  #hub = newHub()
  /** How many events this store was given. Each carries its number, so that the page can count for itself. */
  #published = 0
  readonly #responses = new Map<string, NodeResponse>()

  readonly controls: Readonly<Record<string, Control>> = {
    publish: async (query) => {
      const asked = Math.trunc(Number(query.get('count')))
      const count = Math.min(Math.max(asked || 1, 1), MAX_AT_ONCE)
      await this.#publish(count)
      return count === 1 ? 'Published one event.' : `Published ${count} events.`
    },
    cut: async (query) => {
      const connection = query.get('connection')
      const response = connection === null ? undefined : this.#responses.get(connection)
      // In the middle, without a goodbye: what a network does when it fails.
      response?.destroy()
      return response ? 'The connection was cut.' : 'There is no connection to cut.'
    },
    restart: async () => {
      const old = this.#hub
      this.#hub = newHub()
      this.#published = 0
      await old.close({ graceMs: 500 })
      await this.#publish(1)
      return 'The store was restarted, empty.'
    },
    seal: async () => {
      await this.#hub.seal(STREAM)
      return 'The stream is sealed: nothing will follow.'
    },
  }

  /** Answers with the stream. */
  serve(request: NodeRequest, response: NodeResponse): void {
    const handler = sse(this.#hub, {
      stream: () => STREAM,
      onOpen: ({ id }) => this.#responses.set(id, response),
      onClose: ({ id }) => this.#responses.delete(id),
    })
    handler(request, response)
  }

  close(): Promise<void> {
    return this.#hub.close({ graceMs: 500 })
  }

  async #publish(count: number): Promise<void> {
    const first = this.#published + 1
    this.#published += count
    const at = Date.now()
    const events = Array.from({ length: count }, (_, index) => ({ data: { n: first + index, at } }))
    await this.#hub.publish(STREAM, events)
  }
}

function newHub() {
  // Faster than the defaults, so that there is something to see: a heartbeat every 5 s, a return after 2 to 4 s.
  return createHub({ store: memoryStore({ maxEvents: MAX_EVENTS }), heartbeatMs: 5_000, retryMs: [2_000, 4_000] })
}
