import PQueue from 'p-queue'
import type { Message } from './outbox-message.js'

/** One message at a time in each lane; a lane is there as long as it has one. */
export function lanes(deliver: (message: Message) => Promise<void>): (message: Message) => void {
  const byName = new Map<string | null, PQueue>()

  /** Puts a message behind those of its lane. One that is over leaves at once, wherever it stands. */
  return (message) => {
    const { lane } = message.item
    let queue = byName.get(lane)
    if (!queue) {
      queue = new PQueue({ concurrency: 1 })
      queue.once('idle', () => byName.delete(lane))
      byName.set(lane, queue)
    }
    // Rejects with the signal's reason when the message is over before its turn, or first of all.
    queue.add(() => deliver(message), { signal: message.signal }).catch(() => {})
  }
}
