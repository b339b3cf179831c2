/** What a sink tells its connection. */
export interface SinkListener {
  /** The peer has taken what was written; there is room again. */
  drained(): void
  /** The response is gone, whoever ended it. Nothing follows. */
  closed(): void
}

/** Where the bytes of one response go. Adapters implement it; its head has been sent. */
export interface Sink {
  /** From now on, `listener` is told. A response that is already gone says so at once. */
  bind(listener: SinkListener): void
  /**
   * Takes the bytes in any case. `false`: wait for `drained` before the next write.
   *
   * @param chunk - the same bytes as one chunk of HTTP/1.1, if somebody made it already; not to be changed, like them.
   */
  write(bytes: Uint8Array, chunk?: Uint8Array): boolean
  /** Completes the response: what was written still arrives. `closed` follows. */
  end(): void
  /** Cuts the response off and frees what was not sent. `closed` follows. */
  destroy(): void
}
