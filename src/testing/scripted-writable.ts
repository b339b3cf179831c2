import type { Clock } from '../protocol/clock.js'

/** What a scripted target does with one write: takes it, drains after a while, never drains, or closes. */
export type WriteScript = 'take' | 'never' | 'close' | { readonly drainMs: number }

/** What a target emits. */
export type TargetEvent = 'drain' | 'close' | 'error'

/**
 * A target for `writeSSE` that behaves like a Node `Writable` by a script: no socket, no real time.
 *
 * @example
 * ```ts
 * const target = scriptedWritable({ clock, script: (write) => (write === 2 ? 'never' : 'take') })
 * await writeSSE(target, { data: 'one' }, { clock })
 * ```
 */
export function scriptedWritable(options: {
  clock: Clock
  /** Called with the number of the write, from 1. Default: takes everything. */
  script?: ((write: number) => WriteScript) | undefined
}): ScriptedWritable {
  return new Scripted(options.clock, options.script ?? (() => 'take'))
}

/** See `scriptedWritable`. */
export interface ScriptedWritable {
  /** What was written, in order. */
  readonly written: readonly Uint8Array[]
  /** All that was written, as text. */
  readonly text: string
  /** How many listeners there are, of all events. */
  readonly listeners: number
  readonly destroyed: boolean
  readonly writableEnded: boolean
  /** Like Node's: a destroyed target answers `false`, emits no `drain`, and throws nothing. */
  write(bytes: Uint8Array): boolean
  /** Ends and destroys it. */
  end(): void
  /** Destroys it, and emits `close`, once. */
  destroy(): void
  /** Adds a listener. */
  on(event: TargetEvent, listener: () => void): this
  /** Takes a listener away. */
  off(event: TargetEvent, listener: () => void): this
  /** Calls the listeners, as if the target had come to it by itself. */
  emit(event: TargetEvent): void
}

class Scripted implements ScriptedWritable {
  readonly written: Uint8Array[] = []
  readonly #clock: Clock
  readonly #script: (write: number) => WriteScript
  readonly #listeners = new Map<TargetEvent, Set<() => void>>()
  #cancelDrain: (() => void) | undefined
  destroyed = false
  writableEnded = false

  constructor(clock: Clock, script: (write: number) => WriteScript) {
    this.#clock = clock
    this.#script = script
  }

  get text(): string {
    const decoder = new TextDecoder()
    return this.written.map((bytes) => decoder.decode(bytes, { stream: true })).join('')
  }

  get listeners(): number {
    let sum = 0
    for (const listeners of this.#listeners.values()) sum += listeners.size
    return sum
  }

  write(bytes: Uint8Array): boolean {
    if (this.destroyed) return false
    this.written.push(bytes)
    const what = this.#script(this.written.length)
    if (what === 'take') return true
    if (what === 'close') this.destroy()
    else if (what !== 'never') this.#cancelDrain = this.#clock.setTimeout(() => this.emit('drain'), what.drainMs)
    return false
  }

  /** Ends, and closes at once. */
  end(): void {
    this.writableEnded = true
    this.destroy()
  }

  /** Closes without a drain. */
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.#cancelDrain?.()
    this.emit('close')
  }

  /** Adds a listener. */
  on(event: TargetEvent, listener: () => void): this {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners)
    listeners.add(listener)
    return this
  }

  /** Removes a listener. */
  off(event: TargetEvent, listener: () => void): this {
    this.#listeners.get(event)?.delete(listener)
    return this
  }

  /** Calls the listeners of an event. */
  emit(event: TargetEvent): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener()
  }
}
