import { type Clock, nextTurn, systemClock } from '../protocol/clock.js'
import { randomTag } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import { bound, duration } from '../protocol/options.js'
import type {
  AppendEvent,
  Appended,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StoreHost,
  StreamView,
} from '../protocol/store.js'
import { type Limits, MemoryLog, type Stamp } from './memory-log.js'
import { MemoryLogs } from './memory-logs.js'

export { type MemoryReceiptsOptions, memoryReceipts } from './memory-receipts.js'

/** Bounds of a memory store. */
export interface MemoryStoreOptions {
  /** The most events retained per stream. Default: 10,000. */
  maxEvents?: number | undefined
  /** The most data retained per stream, in bytes of UTF-8. Default: 4 MiB. */
  maxBytes?: number | undefined
  /** How long an event is retained, in milliseconds. Default: 3,600,000 (an hour). */
  maxAgeMs?: number | undefined
  /** The most data retained in all streams together, in bytes of UTF-8; the stream that was longest unused gives way. Default: 256 MiB. */
  maxTotalBytes?: number | undefined
}

/**
 * Keeps streams in the memory of this process: for one process only, and gone with it. Clients that come back
 * after a restart are told so by a gap `epoch`.
 *
 * @throws TypeError when an option is not what it should be.
 * @example
 * ```ts
 * const hub = createHub({ store: memoryStore({ maxEvents: 1_000 }) })
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): EventStore {
  return new MemoryStore(
    {
      maxEvents: bound('maxEvents', options.maxEvents, 10_000),
      maxBytes: bound('maxBytes', options.maxBytes, 4 * 1024 * 1024),
      maxAgeMs: duration('maxAgeMs', options.maxAgeMs, 3_600_000),
    },
    bound('maxTotalBytes', options.maxTotalBytes, 256 * 1024 * 1024),
  )
}

/**
 * What the events of one turn of the loop share: to make it for each took as long as to store it. Their tags follow
 * one random tag; within a turn nobody can cut a log back and write it anew.
 */
interface Turn extends Stamp {
  now: number
  /** The streams that have new events: hinted at with the first of them, and when the turn is over. */
  readonly moved: Set<string>
}

class MemoryStore implements EventStore {
  readonly #limits: Limits
  readonly #maxTotalBytes: number
  /** The stream that was longest unused comes first. */
  readonly #logs = new MemoryLogs()
  readonly #hints = new Map<string, Set<Hint>>()
  readonly #hosts = new Set<StoreHost>()
  #clock: Clock = systemClock
  #maxStreams = 10_000
  #sealedTtlMs = 86_400_000
  #bytes = 0
  #turn: Turn | undefined
  #cancelSweep: (() => void) | undefined

  constructor(limits: Limits, maxTotalBytes: number) {
    this.#limits = limits
    this.#maxTotalBytes = maxTotalBytes
  }

  attach(host: StoreHost): () => void {
    this.#hosts.add(host)
    this.#clock = host.clock
    if (this.#turn) this.#turn.now = host.clock.now()
    this.#maxStreams = host.maxStreams
    this.#sealedTtlMs = host.sealedTtlMs
    this.#sweepLater()
    return () => {
      this.#hosts.delete(host)
      if (this.#hosts.size === 0) this.close()
    }
  }

  append(stream: string, events: readonly AppendEvent[]): readonly Appended[] {
    const log = this.#log(stream)
    if (log.sealed)
      throw new SseError('SEALED', `The stream ${JSON.stringify(stream)} is sealed and takes no more events.`)
    const turn = this.#present()
    this.#bytes -= log.bytes
    const places = log.append(events, turn)
    log.trim(this.#limits, turn.now)
    this.#bytes += log.bytes
    this.#use(stream, log)
    this.#trimTotal(log)
    this.#sweepLater()
    if (!turn.moved.has(stream)) {
      turn.moved.add(stream)
      this.#hint(stream)
    }
    return places
  }

  open(stream: string): StreamView {
    const log = this.#log(stream)
    this.#trim(log)
    this.#use(stream, log)
    return log.view()
  }

  read(stream: string, offset: number, options: ReadOptions): Page | null {
    const log = this.#logs.get(stream)
    if (!log) return null
    this.#trim(log)
    this.#measure(log)
    return log.page(offset, options)
  }

  watch(stream: string, hint: Hint): Promise<() => void> {
    const hints = this.#hints.get(stream) ?? new Set()
    this.#hints.set(stream, hints)
    // One function may watch twice.
    const own: Hint = (to) => hint(to)
    hints.add(own)
    return Promise.resolve(() => {
      hints.delete(own)
      if (hints.size === 0 && this.#hints.get(stream) === hints) this.#hints.delete(stream)
    })
  }

  seal(stream: string): StreamView {
    const log = this.#log(stream)
    log.seal(this.#clock.now() + this.#sealedTtlMs)
    this.#sweepLater()
    for (const hint of this.#hints.get(stream) ?? []) hint(undefined)
    return log.view()
  }

  close(): void {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
  }

  /** What the events of this turn of the loop have in common. */
  #present(): Turn {
    this.#turn ??= this.#begin()
    return this.#turn
  }

  #begin(): Turn {
    const turn: Turn = { now: this.#clock.now(), tag: randomTag(), moved: new Set() }
    nextTurn(() => {
      this.#turn = undefined
      for (const stream of turn.moved) this.#hint(stream)
    })
    return turn
  }

  /** The log of `stream`, begun if need be. */
  #log(stream: string): MemoryLog {
    const present = this.#logs.get(stream)
    if (present) return present
    if (this.#logs.size >= this.#maxStreams) this.#makeRoom()
    const log = new MemoryLog()
    this.#use(stream, log)
    return log
  }

  /** The one used last comes last. */
  #use(stream: string, log: MemoryLog): void {
    const { newest } = this.#logs
    if (log === newest) return
    // So that no other than the newest is ever unmeasured.
    if (newest) this.#measure(newest)
    this.#logs.use(stream, log)
  }

  /**
   * Forgets the stream that was longest unused, of those nobody reads; one that never had an event goes first,
   * so that names which strangers make up cannot push out what others published.
   */
  #makeRoom(): void {
    let oldest: [string, MemoryLog] | undefined
    for (const entry of this.#logs) {
      if (this.#hints.has(entry[0])) continue
      oldest ??= entry
      if (entry[1].head > 0) continue
      oldest = entry
      break
    }
    if (oldest) {
      this.#forget(...oldest)
      return
    }
    throw new SseError(
      'OVERLOADED',
      `All \`maxStreams\` (${this.#maxStreams}) streams have readers; there is no room for one more.`,
    )
  }

  #forget(stream: string, log: MemoryLog): void {
    this.#logs.delete(stream)
    this.#bytes -= log.bytes
  }

  #trim(log: MemoryLog): void {
    this.#bytes -= log.bytes
    log.trim(this.#limits, this.#clock.now())
    this.#bytes += log.bytes
  }

  #trimTotal(newest: MemoryLog): void {
    if (this.#bytes <= this.#maxTotalBytes) return
    // The others are measured.
    this.#measure(newest)
    for (const [, log] of this.#logs) {
      if (this.#bytes <= this.#maxTotalBytes || log === newest) return
      this.#bytes -= log.bytes
      log.clear()
    }
  }

  #measure(log: MemoryLog): void {
    this.#bytes -= log.bytes
    log.measure()
    this.#bytes += log.bytes
  }

  #hint(stream: string): void {
    const log = this.#logs.get(stream)
    const hints = this.#hints.get(stream)
    if (!log || !hints) return
    const to = { epoch: log.epoch, head: log.head }
    for (const hint of hints) hint(to)
  }

  /** Looks from time to time for what nobody asks for any more. */
  #sweepLater(): void {
    if (this.#cancelSweep || this.#hosts.size === 0) return
    const ms = Math.min(this.#limits.maxAgeMs, this.#sealedTtlMs) / 4
    this.#cancelSweep = this.#clock.setTimeout(() => this.#sweep(), Math.max(ms, 100), false)
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const now = this.#clock.now()
    let more = false
    for (const [stream, log] of this.#logs) {
      this.#trim(log)
      if (log.sealedUntil <= now && !this.#hints.has(stream)) this.#forget(stream, log)
      else more ||= log.first <= log.head || log.sealed
    }
    if (more) this.#sweepLater()
  }
}
