import type { Clock } from '../protocol/clock.js'
import type { PostgresConnections } from './postgres-connections.js'
import { shortHash } from './postgres-text.js'

/** Every NOTIFY takes a lock of the whole cluster at its commit: so the hints of a few milliseconds go together. */
const EVERY_MS = 5
/** PostgreSQL takes payloads below 8,000 bytes. */
const PAYLOAD_CHARS = 7_000

/** The newest event of a stream, as it was when somebody appended it. */
export interface Newest {
  readonly epoch: string
  readonly head: number
  readonly tag: number
}

/** Tells other processes where streams have moved to: after the commit, and not for every event. */
export class PostgresAnnouncer {
  readonly #connections: PostgresConnections
  readonly #channel: string
  readonly #clock: () => Clock
  /** By what stands for the stream, as it is said. */
  readonly #moved = new Map<string, string>()
  #isBusy = false
  #cancel: (() => void) | undefined

  constructor(connections: PostgresConnections, channel: string, clock: () => Clock) {
    this.#connections = connections
    this.#channel = channel
    this.#clock = clock
  }

  /** @param to - left out when the stream is to be looked at wherever it stands. */
  announce(stream: string, to?: Newest): void {
    const hash = shortHash(stream)
    this.#moved.set(hash, to ? `${hash}.${to.epoch}.${to.head}.${to.tag}` : hash)
    if (!this.#isBusy && !this.#cancel) void this.#send()
  }

  /** What is not sent yet is left to the poll of the others. */
  close(): void {
    this.#moved.clear()
    this.#cancel?.()
    this.#cancel = undefined
  }

  async #send(): Promise<void> {
    this.#isBusy = true
    const until = this.#clock().now() + EVERY_MS
    const payloads = packed([...this.#moved.values()])
    this.#moved.clear()
    const text = 'SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload'
    // A hint that is lost is made good by the poll; and the database has told the publishers already that it is away.
    const { lookMs } = this.#connections
    await this.#connections.query({ text, values: [this.#channel, payloads] }, lookMs).catch(() => {})
    this.#isBusy = false
    const left = until - this.#clock().now()
    if (left > 0) this.#cancel = this.#clock().setTimeout(() => this.#go(), left)
    else this.#go()
  }

  #go(): void {
    this.#cancel = undefined
    if (this.#moved.size > 0) void this.#send()
  }
}

function packed(hints: readonly string[]): string[] {
  const payloads: string[] = []
  let payload = ''
  for (const hint of hints) {
    if (payload.length + hint.length > PAYLOAD_CHARS) {
      payloads.push(payload)
      payload = ''
    }
    payload += payload === '' ? hint : ` ${hint}`
  }
  return payload === '' ? payloads : [...payloads, payload]
}

/** What a payload says: of which streams, and where they moved to. */
export function* unpacked(payload: string): Iterable<[hash: string, to: Newest | undefined]> {
  for (const hint of payload.split(' ')) {
    const [hash = '', epoch, head, tag] = hint.split('.')
    yield [hash, epoch === undefined ? undefined : { epoch, head: Number(head), tag: Number(tag) }]
  }
}
