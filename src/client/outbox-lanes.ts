import PQueue from 'p-queue'
import type { Message } from './outbox-message.js'

interface Lane {
  readonly queue: PQueue
  count: number
}

/** One message at a time in each lane; a lane is there as long as it has one. */
export class Lanes {
  readonly #deliver: (message: Message) => Promise<void>
  readonly #lanes = new Map<string, Lane>()
  readonly #heads = new Set<Message>()

  constructor(deliver: (message: Message) => Promise<void>) {
    this.#deliver = deliver
  }

  /** The first of each lane: nothing of its lane is before it. */
  get heads(): Message[] {
    return [...this.#heads].filter((message) => !message.over)
  }

  /** Puts a message behind those of its lane. One that is over leaves at once, wherever it stands. */
  add(message: Message, name: string): void {
    const lane = this.#lanes.get(name) ?? { queue: new PQueue({ concurrency: 1 }), count: 0 }
    this.#lanes.set(name, lane)
    lane.count++
    const leave = () => {
      lane.count--
      if (lane.count === 0 && this.#lanes.get(name) === lane) this.#lanes.delete(name)
    }
    // Rejects with the signal's reason when the message is over before its turn, or first of all.
    lane.queue.add(() => this.#run(message), { signal: message.signal }).then(leave, leave)
  }

  async #run(message: Message): Promise<void> {
    this.#heads.add(message)
    await this.#deliver(message)
    this.#heads.delete(message)
  }
}
