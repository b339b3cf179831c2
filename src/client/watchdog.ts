import type { Clock } from '../protocol/clock.js'

/**
 * One timer on silence. A sign of life only notes the time; the timer looks at it when it fires, so
 * ten thousand heartbeats a second cost ten thousand assignments.
 */
export class Watchdog {
  readonly #clock: Clock
  readonly #onSilence: (ms: number) => void
  #ms = 0
  #heardAt = 0
  #due = 0
  #graced = false
  #cancel = () => {}

  constructor(clock: Clock, onSilence: (ms: number) => void) {
    this.#clock = clock
    this.#onSilence = onSilence
  }

  /** Waits for `ms` of silence, from now. */
  start(ms: number): void {
    this.touch()
    this.allow(ms)
  }

  /** Waits for `ms` of silence, from when something was last heard. */
  allow(ms: number): void {
    this.#ms = ms
    this.#arm(ms - (this.#clock.now() - this.#heardAt))
  }

  /** Something was heard. */
  touch(): void {
    this.#heardAt = this.#clock.now()
    this.#graced = false
  }

  /** Nobody listens, so silence says nothing: until `start`, or for good. */
  pause(): void {
    this.#cancel()
  }

  #arm(ms: number): void {
    this.#cancel()
    this.#due = this.#clock.now() + ms
    this.#cancel = this.#clock.setTimeout(() => this.#fire(), ms)
  }

  #fire(): void {
    const now = this.#clock.now()
    const silentMs = now - this.#heardAt
    if (silentMs < this.#ms) {
      this.allow(this.#ms)
    } else if (now - this.#due > this.#ms / 2 && !this.#graced) {
      // The process slept. Bytes may be waiting that it had no chance to read.
      this.#graced = true
      this.#arm(this.#ms)
    } else {
      this.#onSilence(this.#ms)
    }
  }
}
