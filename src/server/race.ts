import type { Clock } from '../protocol/clock.js'

/**
 * Waits for `promise`, but no longer than a deadline and a signal allow. Leaves no timer and no
 * listener; what becomes of a promise that came too late is nobody's concern.
 *
 * @param late - makes the error for the deadline.
 */
export function race<T>(
  promise: Promise<T>,
  limit: { clock: Clock; ms: number; late: () => Error; signal?: AbortSignal | undefined },
): Promise<T> {
  const { clock, ms, late, signal } = limit
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.setTimeout(() => settle(() => reject(late())), ms, false)
    const aborted = () => settle(() => reject(signal?.reason))
    const settle = (how: () => void) => {
      cancel()
      signal?.removeEventListener('abort', aborted)
      how()
    }
    if (signal?.aborted) aborted()
    else signal?.addEventListener('abort', aborted, { once: true })
    // In any case: a failure that nobody waits for any more must not end the process.
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    )
  })
}
