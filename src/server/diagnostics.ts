import type { Gap } from '../protocol/control.js'
import type { GapReason } from '../protocol/event.js'
import type { Reason } from './connection.js'
import type { Hub, HubConnection, Published } from './hub.js'
import type { Start } from './reader.js'

/**
 * What the hubs of a process say on `node:diagnostics_channel`: the names of the channels, each with its message.
 * A message is made only while its channel has a subscriber. `hub` tells apart the hubs of one process.
 *
 * It is there on Node, and on every runtime with `process.getBuiltinModule`. What a subscriber throws does not
 * reach the hub: Node raises it as an `uncaughtException` on the next tick, which ends the process unless handled.
 *
 * @example
 * ```ts
 * diagnostics_channel.subscribe('steady-sse:gap', (message) => {
 *   const { connection, reason } = message as DiagnosticMessages['steady-sse:gap']
 *   console.warn(`${connection.stream}: gap ${reason}`)
 * })
 * ```
 */
export interface DiagnosticMessages {
  /** A response is open. `poll`: it is the answer to a poll. */
  'steady-sse:connection:open': {
    readonly hub: Hub
    readonly connection: HubConnection
    readonly resumed: 'new' | 'ok' | 'gap'
    readonly poll: boolean
  }
  /** A connection is over, after `durationMs` by the hub's clock. */
  'steady-sse:connection:close': {
    readonly hub: Hub
    readonly connection: HubConnection
    readonly reason: Reason
    readonly durationMs: number
  }
  /** A gap is announced to a connection: on arrival, or under way. Those that a source put into the log are events of it. */
  'steady-sse:gap': {
    readonly hub: Hub
    readonly connection: HubConnection
    readonly reason: GapReason
    readonly missed: number | null
  }
  /** A connection begins with `count` events that were there before it. */
  'steady-sse:replay': {
    readonly hub: Hub
    readonly connection: HubConnection
    readonly count: number
  }
  /** A client took nothing for `writeTimeoutMs`, and its connection is about to be cut. */
  'steady-sse:write-timeout': {
    readonly hub: Hub
    readonly connection: HubConnection
    readonly writeTimeoutMs: number
  }
  /** A heartbeat was due while a write was pending, and is not sent. Once until the connection is idle again. */
  'steady-sse:heartbeat:skip': {
    readonly hub: Hub
    readonly connection: HubConnection
  }
  /**
   * The store has events: published, piped, of a source, or a gap record. In a transaction of yours they are
   * there once it is committed. `weight`: their characters, and 64 for each.
   */
  'steady-sse:publish': {
    readonly hub: Hub
    readonly stream: string
    readonly published: readonly Published[]
    readonly weight: number
  }
}

type Name = keyof DiagnosticMessages

/** The part of a channel that is used. */
interface Channel<Message> {
  readonly hasSubscribers: boolean
  publish(message: Message): void
}

interface Channels {
  channel<Message>(name: string): Channel<Message>
}

interface Runtime {
  readonly process?: { getBuiltinModule?(name: string): Channels | undefined }
}

/** Where there are no channels. */
const NOBODY = { hasSubscribers: false, publish() {} }

/** One hub's voice on the channels of its process, which copies of the package share by their names. */
export class Diagnostics {
  readonly #hub: Hub
  readonly #open: Channel<DiagnosticMessages['steady-sse:connection:open']>
  readonly #close: Channel<DiagnosticMessages['steady-sse:connection:close']>
  readonly #gap: Channel<DiagnosticMessages['steady-sse:gap']>
  readonly #replay: Channel<DiagnosticMessages['steady-sse:replay']>
  readonly #timeout: Channel<DiagnosticMessages['steady-sse:write-timeout']>
  readonly #skip: Channel<DiagnosticMessages['steady-sse:heartbeat:skip']>
  readonly #publish: Channel<DiagnosticMessages['steady-sse:publish']>

  constructor(hub: Hub) {
    this.#hub = hub
    const channels = channelsOfRuntime()
    const channel = <N extends Name>(name: N): Channel<DiagnosticMessages[N]> =>
      channels?.channel<DiagnosticMessages[N]>(name) ?? NOBODY
    this.#open = channel('steady-sse:connection:open')
    this.#close = channel('steady-sse:connection:close')
    this.#gap = channel('steady-sse:gap')
    this.#replay = channel('steady-sse:replay')
    this.#timeout = channel('steady-sse:write-timeout')
    this.#skip = channel('steady-sse:heartbeat:skip')
    this.#publish = channel('steady-sse:publish')
  }

  /** @param head - the newest offset of the stream: what is between the start and it is replayed. */
  opened(connection: HubConnection, start: Start, head: number, poll: boolean): void {
    const hub = this.#hub
    if (this.#open.hasSubscribers) this.#open.publish({ hub, connection, resumed: start.resumed, poll })
    if (start.gap) this.gap(connection, start.gap)
    const count = head - start.place.offset
    if (count > 0 && this.#replay.hasSubscribers) this.#replay.publish({ hub, connection, count })
  }

  closed(connection: HubConnection, reason: Reason, durationMs: number): void {
    if (this.#close.hasSubscribers) this.#close.publish({ hub: this.#hub, connection, reason, durationMs })
  }

  gap(connection: HubConnection | undefined, { reason, missed }: Gap): void {
    if (connection && this.#gap.hasSubscribers) this.#gap.publish({ hub: this.#hub, connection, reason, missed })
  }

  timedOut(connection: HubConnection | undefined, writeTimeoutMs: number): void {
    if (connection && this.#timeout.hasSubscribers)
      this.#timeout.publish({ hub: this.#hub, connection, writeTimeoutMs })
  }

  skipped(connection: HubConnection | undefined): void {
    if (connection && this.#skip.hasSubscribers) this.#skip.publish({ hub: this.#hub, connection })
  }

  /** The hottest of them. */
  published(stream: string, published: readonly Published[], weight: number): void {
    if (this.#publish.hasSubscribers) this.#publish.publish({ hub: this.#hub, stream, published, weight })
  }
}

/** Not imported, for this layer runs where there is no such module. Where it is only pretended, what is asked may throw. */
function channelsOfRuntime(): Channels | undefined {
  try {
    return (globalThis as Runtime).process?.getBuiltinModule?.('node:diagnostics_channel')
  } catch {
    return undefined
  }
}
