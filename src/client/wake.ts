import type { Clock } from '../protocol/clock.js'

type Events = Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>

/** Calls `listener` on each such event, where there are any, until the returned function is called. */
export function listen(target: Events | undefined, type: string, listener: () => void): () => void {
  target?.addEventListener?.(type, listener)
  return () => target?.removeEventListener?.(type, listener)
}

/** A wait that may be cut short. */
export interface Pause {
  /** Resolves when it is over, with whether it was cut short by a wake. */
  readonly over: Promise<boolean>
  /** Ends it, yet never before `soonestMs` of it passed. */
  wake(): void
  /** Ends it now. */
  stop(): void
}

/**
 * Waits `ms`. In runtimes that can tell, the return of the network, or the page being seen again, ends the wait, yet
 * never before `soonestMs` of it passed.
 */
export function pause(clock: Clock, ms: number, soonestMs: number): Pause {
  const startedAt = clock.now()
  const { document } = globalThis as { document?: Events & { visibilityState?: string } }
  let settle: (woken: boolean) => void = () => {}
  const over = new Promise<boolean>((resolve) => {
    settle = resolve
  })
  let cancelTimer = clock.setTimeout(() => finish(false), ms)
  const detach = [
    listen(globalThis, 'online', wake),
    listen(document, 'visibilitychange', () => document?.visibilityState === 'visible' && wake()),
  ]

  function finish(woken: boolean): void {
    cancelTimer()
    for (const each of detach) each()
    settle(woken)
  }

  function wake(): void {
    // The wait itself ends sooner.
    if (soonestMs >= ms) return
    const restMs = startedAt + soonestMs - clock.now()
    if (restMs <= 0) {
      finish(true)
    } else {
      cancelTimer()
      cancelTimer = clock.setTimeout(() => finish(true), restMs)
    }
  }

  return { over, wake, stop: () => finish(false) }
}
