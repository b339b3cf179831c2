import type { PublishEvent } from './event.js'

/**
 * Something outside that feeds a stream: a broker or a bus.
 */
export interface Source {
  /**
   * Subscribes to what belongs to `stream`. Resolves when the subscription is confirmed, with the
   * function that ends it.
   *
   * @param to - takes each event, and `lost` when some may be missing (their number, where known).
   * @param signal - aborted when the join is no longer wanted.
   */
  join(
    stream: string,
    to: { event(event: PublishEvent): Promise<void>; lost(missed?: number): void },
    signal: AbortSignal,
  ): Promise<() => void | Promise<void>>
}
