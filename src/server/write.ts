import { type Clock, systemClock } from '../protocol/clock.js'
import { encodeEvent } from '../protocol/encode.js'
import { SseError } from '../protocol/error.js'
import type { SseEvent } from '../protocol/event.js'
import { bound, duration, show } from '../protocol/options.js'

/** The part of a Node `Writable`, `ServerResponse` or `Http2ServerResponse` that `writeSSE` touches. */
export interface NodeTarget {
  /** As in Node: `false` is over the high-water mark. */
  write(chunk: Uint8Array): boolean
  /** Called at the deadline. */
  destroy(error?: Error): unknown
  /** Called when a write has to wait. */
  on(event: 'drain' | 'close' | 'error', listener: () => void): unknown
  /** Called when it waits no more. */
  off(event: 'drain' | 'close' | 'error', listener: () => void): unknown
  readonly destroyed?: boolean | undefined
  readonly writableLength?: number | undefined
  readonly writableEnded?: boolean | undefined
}

/** The part of a `WritableStreamDefaultWriter` that `writeSSE` touches. */
export interface WebTarget {
  /** Resolves when the sink has taken the chunk. */
  write(chunk: Uint8Array): Promise<void>
  /** Called at the deadline. */
  abort(reason?: unknown): Promise<void>
  readonly closed: Promise<unknown>
}

/** What `writeSSE` writes to. */
export type WriteTarget = NodeTarget | WebTarget

/** Options of one write. */
export interface WriteOptions {
  /** How long the target may take to drain, in milliseconds. Default: 30,000. */
  timeoutMs?: number | undefined
  /** Stops the waiting, with its reason; the target is left as it is. */
  signal?: AbortSignal | undefined
  /** The largest frame, in bytes. Default: 1 MiB. */
  maxFrameBytes?: number | undefined
  /** The most that may be un-awaited on one target, in bytes. Default: 1 MiB. */
  maxPendingBytes?: number | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

const encoder = new TextEncoder()

/**
 * Writes one event and waits until the target has room again: on drain, close, error, abort or deadline,
 * whichever comes first. Leaves no timer and no listener, and never touches the head.
 *
 * @param target - a `ServerResponse`, an `Http2ServerResponse`, any Node `Writable` (a socket too), or the
 * writer of a web `WritableStream`.
 * @param event - an event, or a finished frame as a string.
 * @throws TypeError for what no frame can carry. SseError `CLOSED` when the target closes; `WRITE_TIMEOUT`
 * at the deadline, which destroys (web: aborts) the target; `FRAME_TOO_LARGE`; `OVERLOADED` when more than
 * `maxPendingBytes` are un-awaited. An aborted `signal` rejects with its reason.
 * @example
 * ```ts
 * for await (const token of tokens) await writeSSE(res, { data: token })
 * ```
 */
export async function writeSSE(
  target: WriteTarget,
  event: SseEvent | string,
  options: WriteOptions = {},
): Promise<void> {
  const timeoutMs = duration('timeoutMs', options.timeoutMs, 30_000)
  const maxFrameBytes = bound('maxFrameBytes', options.maxFrameBytes, 1024 * 1024)
  const maxPendingBytes = bound('maxPendingBytes', options.maxPendingBytes, 1024 * 1024)
  const { signal, clock = systemClock } = options
  if (typeof target?.write !== 'function') {
    throw new TypeError(`Expected \`target\` to be a response, a Writable or a writer, got ${show(target)}`)
  }
  const bytes = encoder.encode(typeof event === 'string' ? event : encodeEvent(event))
  if (bytes.length > maxFrameBytes) {
    throw new SseError(
      'FRAME_TOO_LARGE',
      `The frame takes ${bytes.length} bytes, more than \`maxFrameBytes\` (${maxFrameBytes}).`,
    )
  }
  signal?.throwIfAborted()
  const line = lineOf(target)
  const { pendingBytes } = line
  if (line.waits >= MAX_WAITS || (pendingBytes > 0 && pendingBytes + bytes.length > maxPendingBytes)) {
    throw new SseError(
      'OVERLOADED',
      `More than \`maxPendingBytes\` (${maxPendingBytes}) un-awaited. Await each write before the next.`,
    )
  }
  await line.write(bytes, { clock, timeoutMs, signal })
}

interface WaitOptions {
  clock: Clock
  timeoutMs: number
  signal: AbortSignal | undefined
}

/** Small frames are bounded by their number: each wait holds more than its bytes. */
const MAX_WAITS = 4_096

/** All waits on one target share its listeners. */
interface Line {
  readonly waits: number
  readonly pendingBytes: number
  write(bytes: Uint8Array, options: WaitOptions): Promise<void>
}

const lines = new WeakMap<WriteTarget, Line>()

function lineOf(target: WriteTarget): Line {
  let line = lines.get(target)
  if (!line) {
    line = isNodeTarget(target) ? new NodeLine(target) : new WebLine(target)
    lines.set(target, line)
  }
  return line
}

function isNodeTarget(target: WriteTarget): target is NodeTarget {
  return 'on' in target && typeof target.on === 'function'
}

/** One un-awaited write: its time, its signal, and how it settles. */
class Wait {
  readonly bytes: number
  readonly done: Promise<void>
  /** Whether its signal ended it. */
  aborted = false
  #settle: ((error?: unknown) => void) | undefined

  constructor(bytes: number, options: WaitOptions, timedOut: () => void, over: (wait: Wait) => void) {
    this.bytes = bytes
    const { clock, timeoutMs, signal } = options
    this.done = new Promise((resolve, reject) => {
      const cancel = clock.setTimeout(timedOut, timeoutMs)
      const aborted = () => {
        this.aborted = true
        this.settle(signal?.reason ?? new SseError('CLOSED', 'The wait was aborted.'))
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#settle = (error) => {
        cancel()
        signal?.removeEventListener('abort', aborted)
        if (error === undefined) resolve()
        else reject(error)
        over(this)
      }
    })
  }

  settle(error?: unknown): void {
    const settle = this.#settle
    this.#settle = undefined
    settle?.(error)
  }
}

class NodeLine implements Line {
  readonly #target: NodeTarget
  readonly #waits = new Set<Wait>()
  #waitingBytes = 0
  /** Bytes whose wait was given up while the target still held them. */
  #abandonedBytes = 0
  readonly #drained = () => {
    this.#abandonedBytes = 0
    this.#settleAll()
  }
  readonly #closed = () => this.#settleAll(closedError())

  constructor(target: NodeTarget) {
    this.#target = target
  }

  get waits(): number {
    return this.#waits.size
  }

  get pendingBytes(): number {
    // What was given up counts for as long as the target may still hold it.
    this.#abandonedBytes = Math.min(this.#abandonedBytes, this.#target.writableLength ?? this.#abandonedBytes)
    return this.#waitingBytes + this.#abandonedBytes
  }

  write(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    const target = this.#target
    if (isGone(target)) throw closedError()
    if (target.write(bytes)) {
      this.#abandonedBytes = 0
      return Promise.resolve()
    }
    // A dead target answers false too, and drains never.
    if (isGone(target)) throw closedError()
    return this.#listen(bytes.length, options).done
  }

  #listen(bytes: number, options: WaitOptions): Wait {
    const timedOut = () => {
      const error = new SseError('WRITE_TIMEOUT', `The target did not drain within ${options.timeoutMs} ms.`)
      this.#settleAll(error)
      this.#target.destroy()
    }
    const wait = new Wait(bytes, options, timedOut, (over) => this.#leave(over))
    if (this.#waits.size === 0) {
      this.#target.on('drain', this.#drained)
      this.#target.on('close', this.#closed)
      this.#target.on('error', this.#closed)
    }
    this.#waits.add(wait)
    this.#waitingBytes += wait.bytes
    return wait
  }

  #leave(wait: Wait): void {
    if (!this.#waits.delete(wait)) return
    this.#waitingBytes -= wait.bytes
    if (wait.aborted) this.#abandonedBytes += wait.bytes
    if (this.#waits.size > 0) return
    this.#target.off('drain', this.#drained)
    this.#target.off('close', this.#closed)
    this.#target.off('error', this.#closed)
  }

  #settleAll(error?: SseError): void {
    for (const wait of [...this.#waits]) wait.settle(error)
  }
}

class WebLine implements Line {
  readonly #target: WebTarget
  readonly #waits = new Set<Wait>()
  pendingBytes = 0
  #gone = false

  get waits(): number {
    return this.#waits.size
  }

  constructor(target: WebTarget) {
    this.#target = target
    const gone = () => {
      this.#gone = true
      for (const wait of [...this.#waits]) wait.settle(closedError())
    }
    target.closed.then(gone, gone)
  }

  write(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    if (this.#gone) throw closedError()
    const timedOut = () => {
      const error = new SseError('WRITE_TIMEOUT', `The target did not drain within ${options.timeoutMs} ms.`)
      for (const wait of [...this.#waits]) wait.settle(error)
      this.#gone = true
      this.#target.abort(error).catch(() => {})
    }
    const wait = new Wait(bytes.length, options, timedOut, (over) => {
      if (this.#waits.delete(over)) this.pendingBytes -= over.bytes
    })
    this.#waits.add(wait)
    this.pendingBytes += bytes.length
    // A writer's own promise is its drain: it resolves once the sink has taken the chunk. Node's throws when the
    // stream was closed, where the standard says reject.
    const taken = (async () => this.#target.write(bytes))()
    taken.then(
      () => wait.settle(),
      () => wait.settle(closedError()),
    )
    return wait.done
  }
}

function isGone(target: NodeTarget): boolean {
  // An HTTP/2 response says so only through its stream.
  const { stream } = target as { stream?: { destroyed?: boolean } }
  return target.destroyed === true || target.writableEnded === true || stream?.destroyed === true
}

function closedError(): SseError {
  return new SseError('CLOSED', 'The target is closed.')
}
