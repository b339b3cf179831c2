import type { Clock } from '../protocol/clock.js'

/** A burst of 401s, those of a stream and of what is sent beside it, asks for new credentials once. */
const FRESH_MS = 1_000

/**
 * The user's headers, for a stream and for all that speaks in its name: made for every attempt, and
 * made anew by one at a time for all.
 */
export class RequestHeaders {
  readonly #make: () => HeadersInit | Promise<HeadersInit>
  readonly #clock: Clock
  readonly #patienceMs: number
  #renewal: { readonly headers: Promise<Headers>; at: number; over: boolean } | undefined

  /** @param patienceMs - how long making them may take before it is begun again. */
  constructor(make: () => HeadersInit | Promise<HeadersInit>, clock: Clock, patienceMs: number) {
    this.#make = make
    this.#clock = clock
    this.#patienceMs = patienceMs
  }

  /** Headers for one request: a copy. Those that are being made anew, or just were, serve all who ask. */
  async make(): Promise<Headers> {
    const renewal = this.#current()
    return new Headers(renewal ? await renewal.headers : await this.#make())
  }

  /** Makes them anew, unless somebody is at it or was a moment ago. Rejects as the user's function does. */
  async renew(): Promise<void> {
    const current = this.#current()
    if (current) {
      await current.headers
      return
    }
    const renewal = { headers: this.#begin(), at: this.#clock.now(), over: false }
    this.#renewal = renewal
    try {
      await renewal.headers
      renewal.at = this.#clock.now()
      renewal.over = true
    } catch (error) {
      if (this.#renewal === renewal) this.#renewal = undefined
      throw error
    }
  }

  async #begin(): Promise<Headers> {
    return new Headers(await this.#make())
  }

  /** The renewal that is under way, unless it hangs, or that is fresh. */
  #current() {
    const renewal = this.#renewal
    if (!renewal) return undefined
    const ageMs = this.#clock.now() - renewal.at
    if (ageMs < (renewal.over ? FRESH_MS : this.#patienceMs)) return renewal
    this.#renewal = undefined
    return undefined
  }
}
