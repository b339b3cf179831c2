import { CONTROL_PREFIX, END, GAP, parseEnd, parseGap, parseReady, READY } from '../protocol/control.js'
import type { Outcome } from './outcome.js'
import type { Progress } from './progress.js'
import type { Block, BlockReceiver } from './read.js'
import type { Asked } from './request.js'

/** The attempt whose response is received. */
export interface Receiving {
  readonly over: boolean
  /** The server does not answer as a hub does, so a poll of it is a stream. */
  knowsNoPolls(): void
  /** The server was heard to be a stream. */
  opened(connection: string | null): void
  /** The consumer was given something that the server sent. */
  handedOver(): void
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
  #open = false
  #steady = false

  constructor(attempt: Receiving, progress: Progress, asked: Asked) {
    this.#attempt = attempt
    this.#progress = progress
    this.#asked = asked
  }

  block(block: Block): void {
    // One piece of bytes may hold frames behind the one that ended the attempt.
    if (this.#attempt.over) return
    if (!this.#open && block.event === READY) this.#ready(block)
    else if (this.#steady && block.event?.startsWith(CONTROL_PREFIX)) this.#control(block)
    else this.#event(block)
  }

  place(id: string): void {
    if (this.#attempt.over) return
    this.#openForeign()
    if (!this.#attempt.over) this.#progress.place(id)
  }

  retry(ms: number): void {
    if (!this.#attempt.over) this.#progress.retry(ms)
  }

  #ready(block: Block): void {
    const ready = parseReady(block.data)
    // Continued, but not from the place that was asked for: a stored answer to somebody else's question.
    const isStale = ready.resumed === 'ok' && this.#asked !== 'nothing' && block.id !== this.#progress.received
    if (this.#asked === 'header' && (ready.resumed === 'new' || isStale)) {
      this.#attempt.end({ is: 'stripped' })
      return
    }
    if (isStale) {
      this.#attempt.end({ is: 'lost', reason: 'the answer continues from another place' })
      return
    }
    if (ready.resumed === undefined) this.#attempt.knowsNoPolls()
    this.#open = true
    this.#steady = true
    if (ready.heartbeatMs !== undefined) this.#progress.heartbeat(ready.heartbeatMs)
    this.#attempt.opened(ready.connection ?? null)
    if (this.#attempt.over) return
    // A gap follows, and only it may move the cursor: a cut before it must not swallow it.
    const id = ready.resumed === 'gap' ? undefined : block.id
    if (this.#asked === 'unsendable' || (this.#asked === 'query' && ready.resumed === 'new')) this.#progress.lost(id)
    else if (id !== undefined) this.#progress.place(id)
  }

  #control(block: Block): void {
    if (block.event === GAP) {
      this.#progress.gap(parseGap(block.data), block.id)
      this.#attempt.handedOver()
      return
    }
    if (block.id !== undefined) this.#progress.place(block.id)
    if (block.event !== END) return
    const reason = parseEnd(block.data)
    if (reason === 'sealed') this.#attempt.end({ is: 'ended', reason: 'the stream is sealed' })
    else
      this.#attempt.end({
        is: 'lost',
        reason: `the server ended the response: ${reason}`,
        maxAge: reason === 'maxAge',
        said: true,
      })
  }

  #event(block: Block): void {
    this.#openForeign()
    if (this.#attempt.over) return
    this.#progress.event(block.event, block.data, block.id)
    this.#attempt.handedOver()
  }

  #openForeign(): void {
    if (this.#open) return
    this.#attempt.knowsNoPolls()
    this.#open = true
    this.#attempt.opened(null)
    if (this.#asked === 'unsendable' && !this.#attempt.over) this.#progress.lost(undefined)
  }
}
