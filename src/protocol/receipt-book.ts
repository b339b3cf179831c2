import { type Clock, systemClock } from './clock.js'
import { SseError } from './error.js'
import { bound, duration } from './options.js'
import type { Claim, Lease, Receipts } from './receipts.js'

/** Bounds of receipts in memory. */
export interface MemoryReceiptsOptions {
  /** The most receipts. When full, the oldest that is done goes; those being handled stay. Default: 10,000. */
  maxItems?: number | undefined
  /** The most that scopes, keys and answers may hold together, in characters. The newest answer stays in any case. Default: 32 Mi. */
  maxChars?: number | undefined
  /** How long a receipt is kept after its message was handled, in milliseconds. Default: 86,400,000 (24 h). */
  ttlMs?: number | undefined
  /** Default: the system's. */
  clock?: Clock | undefined
}

interface Held {
  readonly token: string
  readonly fingerprint: string
  readonly since: number
  readonly until: number
}

interface Done {
  readonly fingerprint: string
  readonly answer: string | null
  readonly until: number
}

/** The receipts of one process, in its memory: what is over is noticed when a key is claimed, so there is no timer. */
export class ReceiptBook implements Receipts<never> {
  readonly #maxItems: number
  readonly #maxChars: number
  readonly #ttlMs: number
  readonly #clock: Clock
  /** Those held for longest come first. */
  readonly #held = new Map<string, Held>()
  /** Those done for longest come first, and so they are over first. */
  readonly #done = new Map<string, Done>()
  #doneChars = 0
  #claims = 0

  constructor(options: MemoryReceiptsOptions = {}) {
    this.#maxItems = bound('maxItems', options.maxItems, 10_000)
    this.#maxChars = bound('maxChars', options.maxChars, 32 * 1024 * 1024)
    this.#ttlMs = duration('ttlMs', options.ttlMs, 86_400_000)
    this.#clock = options.clock ?? systemClock
  }

  claim(scope: string, key: string, fingerprint: string, leaseMs: number): Claim {
    const id = idOf(scope, key)
    const now = this.#clock.now()
    this.#forgetOld(now)
    const done = this.#done.get(id)
    if (done) return done.fingerprint === fingerprint ? { state: 'done', answer: done.answer } : { state: 'mismatch' }
    const held = this.#held.get(id)
    if (held && now < held.until) {
      if (held.fingerprint !== fingerprint) return { state: 'mismatch' }
      return { state: 'busy', heldMs: now - held.since, leftMs: held.until - now }
    }
    if (!this.#held.delete(id)) this.#makeRoom(now)
    const token = String(++this.#claims)
    this.#held.set(id, { token, fingerprint, since: now, until: now + leaseMs })
    return { state: 'claimed', lease: { scope, key, token } }
  }

  complete(lease: Lease, answer: string | null): boolean {
    const id = idOf(lease.scope, lease.key)
    const held = this.#held.get(id)
    if (held?.token !== lease.token) return false
    this.#held.delete(id)
    const done = { fingerprint: held.fingerprint, answer, until: this.#clock.now() + this.#ttlMs }
    this.#done.set(id, done)
    this.#doneChars += weight(id, done)
    while (this.#doneChars > this.#maxChars && this.#done.size > 1) this.#forgetOldest()
    return true
  }

  release(lease: Lease): void {
    const id = idOf(lease.scope, lease.key)
    if (this.#held.get(id)?.token === lease.token) this.#held.delete(id)
  }

  #forgetOld(now: number): void {
    for (const { until } of this.#done.values()) {
      if (now < until) return
      this.#forgetOldest()
    }
  }

  #forgetOldest(): boolean {
    for (const [id, done] of this.#done) {
      this.#done.delete(id)
      this.#doneChars -= weight(id, done)
      return true
    }
    return false
  }

  /** Whoever holds a key whose lease is over may have hung: it makes room too, once nothing that is done is left. */
  #makeRoom(now: number): void {
    if (this.#held.size + this.#done.size < this.#maxItems || this.#forgetOldest()) return
    for (const [id, { until }] of this.#held) {
      if (now < until) continue
      this.#held.delete(id)
      return
    }
    throw new SseError(
      'OVERLOADED',
      `All \`maxItems\` (${this.#maxItems}) receipts are of messages being handled; there is no room for one more.`,
    )
  }
}

/** No key holds a line break. */
function idOf(scope: string, key: string): string {
  return `${key}\n${scope}`
}

function weight(id: string, { fingerprint, answer }: Done): number {
  return id.length + fingerprint.length + (answer?.length ?? 0)
}
