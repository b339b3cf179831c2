import type { Clock } from '../protocol/clock.js'

/** Makes what `fetch` takes for headers. Its types are named by those of `RequestInit`, which Node has, too, and not only the DOM. */
export type MakeHeaders = () => RequestInit['headers'] | Promise<RequestInit['headers']>

/** A burst of 401s, those of a stream and of what is sent beside it, asks for new credentials once. */
const FRESH_MS = 1_000

/**
 * The user's headers, for a stream and for all that speaks in its name: made for every attempt, and
 * made anew by one at a time for all.
 */
export class RequestHeaders {
  readonly #make: MakeHeaders
  readonly #clock: Clock
  readonly #patienceMs: number
  /** Those that are being made anew, or just were; they serve all who ask until then. */
  #renewal: { readonly headers: Promise<Headers>; until: number } | undefined

  /** @param patienceMs - how long making them may take before it is begun again. */
  constructor(make: MakeHeaders, clock: Clock, patienceMs: number) {
    this.#make = make
    this.#clock = clock
    this.#patienceMs = patienceMs
  }

  /** Headers for one request: a copy. */
  async make(): Promise<Headers> {
    return new Headers(await (this.#current()?.headers ?? this.#make()))
  }

  /** Makes them anew, unless somebody is at it or was a moment ago. Rejects as the user's function does. */
  async renew(): Promise<void> {
    const now = () => this.#clock.now()
    const current = this.#current()
    const renewal = current ?? { headers: this.make(), until: now() + this.#patienceMs }
    this.#renewal = renewal
    try {
      await renewal.headers
      if (!current) renewal.until = now() + FRESH_MS
    } catch (error) {
      renewal.until = 0
      throw error
    }
  }

  #current() {
    return this.#renewal && this.#clock.now() < this.#renewal.until ? this.#renewal : undefined
  }
}
