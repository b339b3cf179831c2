import type { Message } from './outbox-message.js'
import type { OutboxSettings } from './outbox-options.js'
import { pause } from './wake.js'

/** A network that returns is announced; whether it did is looked at this often, too. */
const OFFLINE_LOOK_MS = 30_000

/** Begins a wait; the returned function ends it. `done` is not called before that function is returned. */
type Begin = (done: () => void) => () => void

/** Waits for what `begin` waits for, or for the end of the message. */
export function waitFor(message: Message, begin: Begin): Promise<void> {
  const { signal } = message
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener('abort', done)
      stop()
      resolve()
    }
    signal.addEventListener('abort', done)
    const stop = begin(done)
  })
}

/** What holds all messages back: `pause()`, a stream that is not up, a network that is off. */
export class Gate {
  readonly #settings: OutboxSettings
  readonly #held = new Set<() => void>()
  #isPaused = false

  constructor(settings: OutboxSettings) {
    this.#settings = settings
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  set isPaused(value: boolean) {
    this.#isPaused = value
    if (!value) for (const go of [...this.#held]) go()
  }

  get isOpen(): boolean {
    return !this.#isPaused && this.#isReady && !isOffline()
  }

  /** Resolves when the message may be sent, or is over. No attempt is spent on a network that is off. */
  async pass(message: Message): Promise<void> {
    while (!message.over) {
      if (this.#isPaused) await waitFor(message, (done) => this.#hold(done))
      else if (!this.#isReady) await waitFor(message, (done) => this.#onOpen(done))
      else if (isOffline()) await this.sleep(message, OFFLINE_LOOK_MS, 0)
      else return
    }
  }

  /**
   * Waits `ms`. A network or a page that is back, or a stream that is up again, ends the wait, yet not
   * before `soonestMs` of it passed.
   *
   * @returns whether it was cut short.
   */
  async sleep(message: Message, ms: number, soonestMs: number): Promise<boolean> {
    let isWoken = false
    await waitFor(message, (done) => {
      const wait = pause(this.#settings.clock, ms, soonestMs)
      const detach = this.#onOpen(() => wait.wake())
      void wait.over.then((woken) => {
        isWoken = woken
        done()
      })
      return () => {
        detach()
        wait.stop()
      }
    })
    return isWoken
  }

  get #isReady(): boolean {
    const { linked, whenReady } = this.#settings
    return !whenReady || linked?.stream.state === 'open'
  }

  #hold(done: () => void): () => void {
    this.#held.add(done)
    return () => this.#held.delete(done)
  }

  #onOpen(listener: () => void): () => void {
    return this.#settings.linked?.link.onOpen(listener) ?? (() => {})
  }
}

function isOffline(): boolean {
  return (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === false
}
