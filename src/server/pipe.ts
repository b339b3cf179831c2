import { GAP, gapData } from '../protocol/control.js'
import type { Cursor } from '../protocol/cursor.js'
import type { PublishEvent } from '../protocol/event.js'
import { bound } from '../protocol/options.js'
import { returnQuietly } from './return-quietly.js'

/** How an iterable is poured into a stream. */
export interface PipeOptions {
  /** Wait when the slowest connection of this process is so many events behind. Default: never. */
  maxLead?: number | undefined
  /** Whether the stream is sealed at the end. Default: `true`. */
  seal?: boolean | undefined
  /** Stops the pipe, as if the iterable had thrown the signal's reason. */
  signal?: AbortSignal | undefined
}

/** What came of a pipe. */
export interface Piped {
  /** The cursor of the last event; `null` when there was none. */
  readonly cursor: Cursor | null
  readonly count: number
}

/** What a pipe does to its stream. */
export interface PipeTarget {
  publish(event: PublishEvent): Promise<{ readonly cursor: Cursor }>
  record(gap: { event: string; data: string }): Promise<unknown>
  seal(): Promise<void>
  /** What to wait for until no connection is `maxLead` events behind. */
  room(maxLead: number, signal: AbortSignal | undefined): Promise<void> | undefined
}

/**
 * Publishes what `events` yields, one at a time: the next is asked for when the last is stored and the slowest
 * connection is near enough. An iterable that breaks off leaves a gap record, then the seal.
 */
export async function pipe(
  target: PipeTarget,
  events: AsyncIterable<PublishEvent>,
  options: PipeOptions = {},
): Promise<Piped> {
  const maxLead = bound('maxLead', options.maxLead, Number.POSITIVE_INFINITY)
  const { seal = true, signal } = options
  if (typeof events?.[Symbol.asyncIterator] !== 'function') {
    throw new TypeError('Expected an async iterable of events, such as an async generator')
  }
  signal?.throwIfAborted()
  const iterator = events[Symbol.asyncIterator]()
  let cursor: Cursor | null = null
  let count = 0
  try {
    for (;;) {
      const room = maxLead === Number.POSITIVE_INFINITY ? undefined : target.room(maxLead, signal)
      if (room !== undefined) await room
      const result = await unlessAborted(iterator.next(), signal)
      if (result.done) break
      cursor = (await target.publish(result.value)).cursor
      count++
    }
  } catch (error) {
    returnQuietly(iterator)
    await breakOff(target, seal)
    throw error
  }
  if (seal) await target.seal()
  return { cursor, count }
}

/** Says in the log that something is missing. The error that led here is the one to report, whatever happens now. */
async function breakOff(target: PipeTarget, seal: boolean): Promise<void> {
  try {
    await target.record({ event: GAP, data: gapData({ reason: 'source', missed: null }) })
    if (seal) await target.seal()
  } catch {
    // The store is away, which the first error has said, or will be asked again by whoever publishes next.
  }
}

/** A race of two, made anew for each step: one that lasts would hold on to every step that it ever saw. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
