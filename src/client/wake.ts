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

/**
 * Waits `ms`; being online or visible again ends the wait, yet never before `soonestMs` of it passed.
 *
 * @param done - called once, with whether the wait was cut short.
 * @returns what ends the wait without calling `done`.
 */
export function pause(clock: Clock, ms: number, soonestMs: number, done: (woken: boolean) => void): () => void {
  const startedAt = clock.now()
  let cancelTimer = clock.setTimeout(() => finish(false), ms)
  const detach = soonestMs < ms ? onWake(wake) : () => {}

  function stop(): void {
    cancelTimer()
    detach()
  }

  function finish(woken: boolean): void {
    stop()
    done(woken)
  }

  function wake(): void {
    const restMs = startedAt + soonestMs - clock.now()
    if (restMs <= 0) {
      finish(true)
    } else {
      stop()
      cancelTimer = clock.setTimeout(() => finish(true), restMs)
    }
  }

  return stop
}
