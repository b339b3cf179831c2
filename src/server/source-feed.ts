import type { Clock } from '../protocol/clock.js'
import { GAP, gapData } from '../protocol/control.js'
import type { Place } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { PublishEvent } from '../protocol/event.js'
import type { Source } from '../protocol/source.js'
import type { AppendEvent } from '../protocol/store.js'
import { weight } from './prepare.js'
import { reportTo } from './report.js'

/** How long a record that the store did not take is kept back before it is tried again. */
const RETRY_MS = 1_000

/** What a feed does to its stream. */
export interface FeedTarget {
  /** Checks what the source brings. Throws for what no frame can carry. */
  prepare(event: PublishEvent): AppendEvent
  /** Appends to the log, and says where the first of it stands. */
  append(event: AppendEvent): Promise<Place>
  /** The most that may wait for the store, in characters of data. */
  readonly maxPendingBytes: number
  readonly onError: ((error: unknown) => void) | undefined
}

/**
 * What a source brings to one stream, from the join to the leave: one event at a time, in order, and a gap
 * record for whatever may be missing, before anything that comes after it.
 */
export class SourceFeed {
  readonly #source: Source
  readonly #stream: string
  readonly #clock: Clock
  readonly #to: FeedTarget
  readonly #controller = new AbortController()
  #queue: Promise<unknown> = Promise.resolve()
  /** What is lost and not recorded yet; `null`: nobody knows how many. */
  #missed: number | null = 0
  /** The loss that stands last in the queue, if a loss does. */
  #waiting: { missed: number | null } | undefined
  #pendingBytes = 0
  /** Whether the next record is the one that the join itself calls for. */
  #isJoining = false
  #cancelRetry: (() => void) | undefined
  #leave: (() => void | Promise<void>) | undefined
  #origin: Place | undefined

  constructor(source: Source, stream: string, clock: Clock, to: FeedTarget) {
    this.#source = source
    this.#stream = stream
    this.#clock = clock
    this.#to = to
  }

  /** The place after the gap that the join had to record, if it had to: what comes next is of this subscription. */
  get origin(): Place | undefined {
    return this.#origin
  }

  /**
   * Resolves when the subscription is confirmed.
   *
   * @param hadEvents - whether the log holds events from before: what the source brought since then, and to
   * whom, nobody can say.
   */
  async join(hadEvents: boolean): Promise<void> {
    const { signal } = this.#controller
    this.#missed = hadEvents ? null : 0
    this.#isJoining = hadEvents
    const to = {
      event: (event: PublishEvent) => handled(this.#offer(event)),
      lost: (missed?: number) => this.#loseInOrder(missed),
    }
    const leave = await this.#source.join(this.#stream, to, signal)
    if (signal.aborted) {
      await this.#run(leave)
      return
    }
    this.#leave = leave
    // The join is done when what it could not prove stands in the log.
    await this.#enqueue(() => this.#record())
  }

  /** Ends the subscription, once; a join under way is cancelled. Resolves when it has ended; never rejects. */
  async close(): Promise<void> {
    if (this.#controller.signal.aborted) return
    this.#controller.abort(new SseError('CLOSED', 'Nobody reads this stream any more.'))
    this.#cancelRetry?.()
    const leave = this.#leave
    this.#leave = undefined
    if (leave) await this.#run(leave)
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    this.#waiting = undefined
    const done = this.#queue.then(step)
    this.#queue = done.catch(() => {})
    return done
  }

  async #offer(event: PublishEvent): Promise<void> {
    if (this.#controller.signal.aborted) throw new SseError('CLOSED', 'The subscription has ended.')
    try {
      const prepared = this.#to.prepare(event)
      const bytes = weight([prepared])
      if (this.#pendingBytes + bytes > this.#to.maxPendingBytes) {
        throw new SseError('OVERLOADED', 'More than `maxPendingBytes` wait for the store. Await each event.')
      }
      this.#pendingBytes += bytes
      await this.#enqueue(() => this.#take(prepared)).finally(() => {
        this.#pendingBytes -= bytes
      })
    } catch (error) {
      this.#loseInOrder(1)
      throw error
    }
  }

  async #take(event: AppendEvent): Promise<void> {
    await this.#record()
    if (this.#controller.signal.aborted) throw new SseError('CLOSED', 'The subscription has ended.')
    await this.#to.append(event)
  }

  /** Losses that wait in a row are one: a source that loses without end must not fill the queue. */
  #loseInOrder(missed: number | undefined): void {
    if (this.#waiting) {
      this.#waiting.missed = sum(this.#waiting.missed, missed)
      return
    }
    const loss = { missed: countOf(missed) }
    void handled(
      this.#enqueue(() => {
        if (this.#waiting === loss) this.#waiting = undefined
        this.#missed = sum(this.#missed, loss.missed ?? undefined)
        return this.#record()
      }),
    )
    // Set last: what is enqueued from now on comes after it.
    this.#waiting = loss
  }

  /** Writes down what is lost. What the store does not take is tried again, also when no event follows. */
  async #record(): Promise<void> {
    const missed = this.#missed
    if (missed === 0 || this.#controller.signal.aborted) return
    this.#missed = 0
    try {
      const data = gapData({ reason: 'source', missed })
      const place = await this.#to.append({ event: GAP, data, key: undefined })
      if (this.#isJoining) this.#origin = place
      this.#isJoining = false
    } catch (error) {
      this.#missed = sum(this.#missed, missed ?? undefined)
      this.#cancelRetry?.()
      const again = () => void handled(this.#enqueue(() => this.#record()))
      this.#cancelRetry = this.#clock.setTimeout(again, RETRY_MS, false)
      throw error
    }
  }

  async #run(leave: () => void | Promise<void>): Promise<void> {
    try {
      await leave()
    } catch (error) {
      reportTo(this.#to.onError, error)
    }
  }
}

/** A rejection that nobody looks at must not end the process: what it is about is in the log as a gap. */
function handled(promise: Promise<void>): Promise<void> {
  promise.catch(() => {})
  return promise
}

/** How many are missing: `null` where that is not said, or makes no sense. */
function countOf(missed: number | undefined): number | null {
  return missed !== undefined && Number.isSafeInteger(missed) && missed > 0 ? missed : null
}

function sum(missed: number | null, more: number | undefined): number | null {
  const known = countOf(more)
  return missed === null || known === null ? null : missed + known
}
