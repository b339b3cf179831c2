import { type NodeRequest, receive, type StreamOptions, sse } from '../../src/adapters/node.js'
import type { Reason } from '../../src/server/connection.js'
import { createHub, type Hub, type HubOptions } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { listen } from '../support/served.js'

/**
 * A server to put proxies in front of. Each path is a stream: those under `/events/idle` of a hub whose heartbeats come often,
 * the others of one whose heartbeats come too late to be seen. `/send` receives messages.
 */
export interface Upstream extends AsyncDisposable {
  readonly hub: Hub
  /** The one with many heartbeats. */
  readonly beating: Hub
  readonly port: number
  /** The messages that were handled. */
  readonly messages: readonly unknown[]
  /** Resolves when the stream's first connection is open. */
  opened(stream: string): Promise<void>
  /** Resolves with the reason when the stream's first connection is over. */
  closed(stream: string): Promise<Reason>
}

/** @param heartbeatMs - of the streams under `/events/idle`. */
export async function startUpstream(heartbeatMs: number, options: Partial<HubOptions> = {}): Promise<Upstream> {
  const hub = createHub({ store: memoryStore(), ...options })
  const beating = createHub({ store: memoryStore(), ...options, heartbeatMs })
  const opens = new Map<string, Later<void>>()
  const closes = new Map<string, Later<Reason>>()
  const messages: unknown[] = []
  const hooks: StreamOptions<NodeRequest> = {
    stream: ({ url = '' }) => new URL(url, 'http://x').pathname.slice(1),
    onOpen(connection) {
      laterIn(opens, connection.stream).resolve()
    },
    onClose(connection, reason) {
      laterIn(closes, connection.stream).resolve(reason)
    },
  }
  const quick = sse(beating, hooks)
  const slow = sse(hub, hooks)
  const send = receive((message) => {
    messages.push(message)
    return { handled: messages.length }
  })
  const served = await listen((req, res) => {
    if (req.url === '/send') send(req, res)
    else (req.url?.startsWith('/events/idle') ? quick : slow)(req, res)
  })
  return {
    hub,
    beating,
    port: (served.address as { port: number }).port,
    messages,
    opened: (name) => laterIn(opens, name).promise,
    closed: (name) => laterIn(closes, name).promise,
    async [Symbol.asyncDispose]() {
      await Promise.all([hub.close({ graceMs: 1 }), beating.close({ graceMs: 1 })])
      await served[Symbol.asyncDispose]()
    },
  }
}

interface Later<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
}

function laterIn<T>(all: Map<string, Later<T>>, name: string): Later<T> {
  const known = all.get(name)
  if (known) return known
  let resolve = (_: T) => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  const later = { promise, resolve }
  all.set(name, later)
  return later
}
