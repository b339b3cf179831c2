import type { Clock } from '../protocol/clock.js'

/** The most that is kept of an answer's body. */
const MAX_ANSWER_BYTES = 1_048_576

/** How one attempt ended. */
export type PostResult =
  | { readonly is: 'answered'; readonly status: number; readonly headers: Headers; readonly body: string }
  /** It left, and no whole answer came back. */
  | { readonly is: 'lost'; readonly reason: string; readonly fault: unknown }
  /** It did not leave. */
  | { readonly is: 'unsent'; readonly reason: string; readonly fault: unknown }

/** What one attempt is made of. */
export interface PostParts {
  readonly clock: Clock
  readonly timeoutMs: number
  /** Ends the attempt. */
  readonly signal: AbortSignal
  readonly headers: () => Promise<Headers>
  /** Called once: the request is leaving. */
  send(headers: Headers, signal: AbortSignal): Promise<Response>
}

/**
 * One request and its answer, body included, within one deadline. It ends in time whatever the user's
 * functions, a custom `fetch` or a body do about it.
 */
export async function post(parts: PostParts): Promise<PostResult> {
  const attempt = new Post(parts)
  try {
    return await attempt.result
  } finally {
    attempt.stop()
  }
}

class Post {
  readonly result: Promise<PostResult>
  readonly #parts: PostParts
  readonly #controller = new AbortController()
  readonly #cancelDeadline: () => void
  readonly #decoder = new TextDecoder()
  #end: (result: PostResult) => void = () => {}
  #hasLeft = false
  #response: Response | undefined
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #body = ''
  #isOver = false

  constructor(parts: PostParts) {
    this.#parts = parts
    this.result = new Promise((resolve) => {
      this.#end = resolve
    })
    const { clock, timeoutMs, signal } = parts
    this.#cancelDeadline = clock.setTimeout(() => {
      this.#breakOff(`no ${this.#hasLeft ? 'answer' : 'headers'} within ${timeoutMs} ms`)
    }, timeoutMs)
    signal.addEventListener('abort', this.#onAbort)
    // Who heard that it begins may have ended it.
    if (signal.aborted) this.#onAbort()
    else this.#run().then(this.#end, (fault: unknown) => this.#breakOff(this.#failure, fault))
  }

  stop(): void {
    this.#isOver = true
    this.#cancelDeadline()
    this.#parts.signal.removeEventListener('abort', this.#onAbort)
    discard(this.#reader ?? this.#response?.body)
    this.#controller.abort()
  }

  readonly #onAbort = () => this.#breakOff('given up')

  get #failure(): string {
    return this.#hasLeft ? 'the network failed' : 'the headers failed'
  }

  async #run(): Promise<PostResult> {
    const headers = await this.#parts.headers()
    if (this.#isOver) return UNSENT
    this.#hasLeft = true
    const response = await this.#parts.send(headers, this.#controller.signal)
    if (this.#isOver) {
      discard(response.body)
      return UNSENT
    }
    this.#response = response
    this.#reader = response.body?.getReader()
    await this.#read()
    return this.#answered(response)
  }

  async #read(): Promise<void> {
    let bytes = 0
    while (this.#reader && bytes < MAX_ANSWER_BYTES) {
      const { done, value } = await this.#reader.read()
      if (done || this.#isOver) return
      this.#body += this.#decoder.decode(value.subarray(0, MAX_ANSWER_BYTES - bytes), { stream: true })
      bytes += value.length
    }
  }

  #breakOff(reason: string, fault: unknown = new Error(reason)): void {
    // At once: nothing may leave after it was said that nothing left.
    this.#isOver = true
    if (!this.#hasLeft) this.#end({ is: 'unsent', reason, fault })
    // Of a failure the status says enough. Of a success, the body may be what was asked for: it can be had again.
    else if (this.#response && !this.#response.ok) this.#end(this.#answered(this.#response))
    else this.#end({ is: 'lost', reason, fault })
  }

  #answered({ status, headers }: Response): PostResult {
    return { is: 'answered', status, headers, body: this.#body }
  }
}

/** Of steps that return when the attempt is over, and are not heard any more. */
const UNSENT: PostResult = { is: 'unsent', reason: 'over', fault: undefined }

function discard(body: { cancel(): Promise<void> } | null | undefined): void {
  try {
    body?.cancel().catch(() => {})
  } catch {
    // There is nobody to tell.
  }
}
