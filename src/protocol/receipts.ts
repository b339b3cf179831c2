/** A key that was claimed: whoever holds it may handle the message, until its time is up. */
export interface Lease {
  readonly scope: string
  readonly key: string
  /** New with every claim, so that a holder who comes late is known. */
  readonly token: string
}

/** What receipts say of a key. */
export type Claim =
  /** It was free, and is now held. */
  | { readonly state: 'claimed'; readonly lease: Lease }
  /** The same message was handled; `answer` is as it was given to `complete`. */
  | { readonly state: 'done'; readonly answer: string | null }
  /** The key is held or was handled with another fingerprint. */
  | { readonly state: 'mismatch' }
  /** The same message is being handled: for how long so far, and how much of its lease is left, in milliseconds. */
  | { readonly state: 'busy'; readonly heldMs: number; readonly leftMs: number }

/**
 * The server's memory that a key was handled. A receipt belongs to a scope and a key, and is in one of three
 * states: none, held (claimed, not handled yet), or done.
 *
 * ```text
 *          claim            complete, commit
 *   none ────────▶ held ─────────────────────▶ done
 *     ▲  release    │ ▲ claim, when the lease     │
 *     └─────────────┘ └─ is over: a new token     │
 *     └───────────────────── when its time is up ◀┘
 * ```
 *
 * Nobody needs a timer: a lease that is over is noticed by whoever claims the key next. Its time is that of the
 * receipts, so that the clocks of several servers do not matter. Every method may answer at once or with a promise.
 */
export interface Receipts<Transaction = unknown> {
  /**
   * Claims a key, in one step with the look at it: of two who claim at once, one holds it.
   *
   * @param scope - whose key it is; any string.
   * @param key - printable ASCII, 1 to 255 characters.
   * @param fingerprint - what tells this message from another; at most 64 characters.
   * @param leaseMs - how long the claim holds. After that the key is free, whatever fingerprint it had.
   * @throws SseError `OVERLOADED` when there is no room for one more.
   */
  claim(scope: string, key: string, fingerprint: string, leaseMs: number): Claim | Promise<Claim>
  /**
   * Remembers the answer. `false`, and nothing is changed, when the lease went to another. A lease that is over
   * but was taken by nobody still counts, as long as the record of it is there.
   *
   * @param answer - JSON, or `null` for no content.
   */
  complete(lease: Lease, answer: string | null): boolean | Promise<boolean>
  /**
   * Runs `effect` and remembers the answer in one transaction. `false`, and `effect` is not run, when the lease
   * went to another; what `effect` throws is thrown, and nothing has changed. Absent where there are no transactions.
   */
  commit?(
    lease: Lease,
    answer: string | null,
    effect: (transaction: Transaction) => void | Promise<void>,
  ): boolean | Promise<boolean>
  /** Frees a key that was not handled; does nothing when the lease went to another, or the key is done. */
  release(lease: Lease): void | Promise<void>
}
