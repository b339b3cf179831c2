import type { Clock } from '../protocol/clock.js'

type Events = Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>

/** Calls `back` when the network returns or the page is seen again, in runtimes that can tell. */
function onWake(back: () => void): () => void {
  const scope = globalThis as Events
  const page = (globalThis as { document?: Events & { visibilityState?: string } }).document
  const onVisibility = () => {
    if (page?.visibilityState === 'visible') back()
  }
  scope.addEventListener?.('online', back)
  page?.addEventListener?.('visibilitychange', onVisibility)
  return () => {
    scope.removeEventListener?.('online', back)
    page?.removeEventListener?.('visibilitychange', onVisibility)
  }
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

/** Waits `ms`; being online or visible again ends the wait, yet never before `soonestMs` of it passed. */
export function pause(clock: Clock, ms: number, soonestMs: number): Pause {
  const startedAt = clock.now()
  let settle: (woken: boolean) => void = () => {}
  const over = new Promise<boolean>((resolve) => {
    settle = resolve
  })
  let cancelTimer = clock.setTimeout(() => finish(false), ms)
  const detach = soonestMs < ms ? onWake(wake) : () => {}

  function finish(woken: boolean): void {
    cancelTimer()
    detach()
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
      detach()
      cancelTimer = clock.setTimeout(() => finish(true), restMs)
    }
  }

  return { over, wake, stop: () => finish(false) }
}
