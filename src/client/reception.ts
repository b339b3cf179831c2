import { CONTROL_PREFIX, END, GAP, parseEnd, parseGap, parseReady, READY, type Ready } from '../protocol/control.js'
import type { Outcome } from './outcome.js'
import type { Progress } from './progress.js'
import type { Block, BlockReceiver } from './read.js'
import type { Asked } from './request.js'

/** The attempt whose response is received. */
export interface Receiving {
  readonly over: boolean
  /** The server was heard to be a stream, and says this of it: nothing, where it is no hub. */
  opened(ready: Partial<Ready>): void
  /** Whether the consumer was given something that the server sent. */
  handedOver: boolean
  end(outcome: Outcome): void
}

/**
 * What the frames of one response mean. Control frames are told by their name, and only after
 * `stream:ready` said that this server speaks of them; to any other server they are events.
 */
export class Reception implements BlockReceiver {
  readonly #attempt: Receiving
  readonly #progress: Progress
  readonly #asked: Asked
  /** Who answers, once that is known. */
  #server: 'hub' | 'other' | undefined

  constructor(attempt: Receiving, progress: Progress, asked: Asked) {
    this.#attempt = attempt
    this.#progress = progress
    this.#asked = asked
  }

  block(block: Block): void {
    // One piece of bytes may hold frames behind the one that ended the attempt.
    if (this.#attempt.over) return
    if (!this.#server && block.event === READY) this.#ready(block)
    else if (this.#server === 'hub' && block.event?.startsWith(CONTROL_PREFIX)) this.#control(block)
    else this.#event(block)
  }

  place(id: string): void {
    if (this.#opened()) this.#progress.place(id)
  }

  retry(ms: number): void {
    if (!this.#attempt.over) this.#progress.retry(ms)
  }

  #ready({ data, id }: Block): void {
    const ready = parseReady(data)
    const { resumed, heartbeatMs } = ready
    // Continued, but not from the place that was asked for: a stored answer to somebody else's question.
    const isStale = resumed === 'ok' && this.#asked !== 'nothing' && id !== this.#progress.received
    if (this.#asked === 'header' && (resumed === 'new' || isStale)) {
      // The cursor was lost on the way.
      this.#progress.byQuery = true
      this.#attempt.end({ is: 'again' })
    } else if (isStale) {
      this.#attempt.end({ is: 'lost', reason: 'the answer continues from another place' })
    } else {
      if (heartbeatMs !== undefined) this.#progress.heartbeat(heartbeatMs)
      // A gap follows, and only it may move the cursor: a cut before it must not swallow it.
      this.#open('hub', ready, resumed === 'gap' ? undefined : id)
    }
  }

  #control({ event, data, id }: Block): void {
    if (event === GAP) {
      this.#progress.gap(parseGap(data), id)
      this.#attempt.handedOver = true
      return
    }
    this.#progress.place(id)
    if (event !== END) return
    const reason = parseEnd(data)
    this.#attempt.end(
      reason === 'sealed'
        ? { is: 'ended', reason: 'the stream is sealed' }
        : {
            is: 'lost',
            reason: `the server ended the response: ${reason}`,
            maxAge: reason === 'maxAge',
            said: true,
          },
    )
  }

  #event({ event, data, id }: Block): void {
    if (!this.#opened()) return
    this.#progress.event(event, data, id)
    this.#attempt.handedOver = true
  }

  /** Whether items can be taken: what speaks before it is ready is a stream, and no hub. */
  #opened(): boolean {
    if (!this.#server && !this.#attempt.over) this.#open('other', {})
    return !this.#attempt.over
  }

  #open(server: 'hub' | 'other', ready: Partial<Ready>, id?: string): void {
    this.#server = server
    this.#attempt.opened(ready)
    if (this.#attempt.over) return
    const isLost = this.#asked === 'unsendable' || (this.#asked === 'query' && ready.resumed === 'new')
    if (isLost) this.#progress.lost(id)
    else this.#progress.place(id)
  }
}
