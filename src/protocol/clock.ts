/**
 * Time as the library sees it. Everything that owns time takes one, so that tests move it by hand
 * (`virtualClock` in `steady-sse/testing`).
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. Must not run backwards. */
  now(): number
  /**
   * Runs `run` once after `ms` milliseconds; the returned function cancels it.
   *
   * @param hold - whether the timer keeps the process alive. Default: `true`.
   */
  setTimeout(run: () => void, ms: number, hold?: boolean): () => void
}

/** Longer delays overflow the runtimes' timers and would fire at once. */
export const MAX_DELAY_MS = 2 ** 31 - 1

interface TimerHandle {
  unref?: () => void
}

/** Read once, and not on import: it is a getter, and the time is asked for with every event. */
let origin: number | undefined

/** The runtime's own time. `now()` is monotonic: a clock that is set does not move it. */
export const systemClock: Clock = {
  now() {
    origin ??= performance.timeOrigin
    return origin + performance.now()
  },
  setTimeout(run, ms, hold = true) {
    const timer = setTimeout(run, Math.min(ms, MAX_DELAY_MS))
    if (!hold) (timer as TimerHandle).unref?.()
    return () => clearTimeout(timer)
  },
}

declare const setImmediate: ((run: () => void) => unknown) | undefined

/**
 * Runs `run` in the next turn of the event loop, once input and output had their turn. It is no
 * timer: it measures no time, and virtual time does not hold it up.
 */
export function nextTurn(run: () => void): void {
  if (typeof setImmediate === 'function') {
    setImmediate(run)
    return
  }
  // Workers of an older compatibility date have neither.
  if (typeof MessageChannel !== 'function') {
    setTimeout(run, 0)
    return
  }
  const channel = new MessageChannel()
  channel.port1.onmessage = () => {
    channel.port1.close()
    run()
  }
  channel.port2.postMessage(null)
}

/** Resolves in the next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => nextTurn(resolve))
}
