import { Frames } from './raw-reader.js'
import { until } from './turns.js'

/** A reader of one response, through either adapter. */
export interface Reading extends AsyncDisposable {
  readonly status: number
  readonly frames: Frames
  readonly headers: Record<string, unknown>
  over(): Promise<void>
  until(check: (frames: Frames) => boolean): Promise<unknown>
  leave(): void
}

/** Reads the body of a web response. */
export function readWeb(response: Response): Reading {
  const frames = new Frames()
  const reader = response.body?.getReader()
  let over = false
  const pump = async () => {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) frames.push(part.value)
  }
  const done = pump().finally(() => {
    over = true
  })
  done.catch(() => {})
  return {
    status: response.status,
    frames,
    headers: Object.fromEntries(response.headers),
    over: () => done,
    until: (check) => until(() => over || check(frames)),
    leave: () => void reader?.cancel(),
    async [Symbol.asyncDispose]() {
      if (!over) await reader?.cancel()
    },
  }
}

/** Waits until the signal is aborted. */
export function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
