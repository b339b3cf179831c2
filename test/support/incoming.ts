import type { Body, Incoming } from '../../src/server/message.js'

const encoder = new TextEncoder()

/** A request without a network, as an adapter would show it. */
export class ScriptedIncoming implements Incoming {
  method = 'POST'
  consumed = false
  body: Body | undefined
  stopped = false
  /** How many bytes were asked for. */
  taken = 0
  readonly headers: Record<string, string | undefined>
  readonly #leaving = new AbortController()
  readonly #pieces: readonly (string | Uint8Array)[]
  #broken: ((error: unknown) => void) | undefined

  /** @param pieces - the body; the string '…' is one that never comes. */
  constructor(key: string | undefined, pieces: readonly (string | Uint8Array)[] = ['{}'], type = 'application/json') {
    this.headers = { 'idempotency-key': key, 'content-type': type }
    this.#pieces = pieces
  }

  get signal(): AbortSignal {
    return this.#leaving.signal
  }

  header(name: string): string | undefined {
    return this.headers[name]
  }

  /** The client leaves; whoever reads its body is not told. */
  leave(): void {
    this.#leaving.abort()
  }

  /** The body ends before its time. */
  breakOff(): void {
    this.#broken?.(new Error('ECONNRESET'))
  }

  async read(take: (bytes: Uint8Array) => void): Promise<void> {
    for (const piece of this.#pieces) {
      if (piece === '…') await new Promise((_, reject) => (this.#broken = reject))
      const bytes = typeof piece === 'string' ? encoder.encode(piece) : piece
      this.taken += bytes.length
      take(bytes)
    }
  }

  stop(): void {
    this.stopped = true
    this.#broken?.(new Error('stopped'))
  }
}

/** A request with this body as JSON. */
export function posted(key: string | undefined, body: unknown = {}): ScriptedIncoming {
  return new ScriptedIncoming(key, [JSON.stringify(body)])
}
