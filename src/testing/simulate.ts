import { type Clock, systemClock } from '../protocol/clock.js'
import type { Fault, Handler, ScriptedAnswer } from './faults.js'
import { broken, holdsHead, type Path, pathOf, withFault } from './path.js'

/** How a simulated network behaves. */
export interface SimulateOptions {
  /** The faults of every request, or a function that is given the number of the request, from 1. Default: none. */
  faults?: readonly Fault[] | ((attempt: number) => readonly Fault[]) | undefined
  /** Makes what is random the same in every run. Default: 1. */
  seed?: number | undefined
  /** Default: the system's. Give it the clock of the client and the server. */
  clock?: Clock | undefined
}

/**
 * An in-memory network between a client and a web handler, with the faults you choose: give it to `connect` as its
 * `fetch`. No sockets, no real time, the same every time.
 *
 * @example
 * ```ts
 * const clock = virtualClock()
 * const hub = createHub({ store: memoryStore(), clock })
 * const stream = connect('http://test/', {
 *   clock,
 *   fetch: simulate(sse(hub, { stream: () => 'news' }), {
 *     clock,
 *     faults: (attempt) => (attempt === 1 ? [{ kind: 'dropping', afterBytes: 300 }] : []),
 *   }),
 * })
 * ```
 */
export function simulate(handler: Handler, options: SimulateOptions = {}): typeof fetch {
  const { faults = [], seed = 1, clock = systemClock } = options
  const random = randomFrom(seed)
  const scripts = new Map<readonly ScriptedAnswer[], number>()
  let server = handler
  let attempts = 0

  /** The next answer of a script; `undefined` when it is used up. */
  function scripted(answers: readonly ScriptedAnswer[]): ScriptedAnswer | undefined {
    const at = scripts.get(answers) ?? 0
    scripts.set(answers, at + 1)
    return answers[at]
  }

  return async (input, init) => {
    attempts++
    const present = typeof faults === 'function' ? faults(attempts) : faults
    const asked = new Request(input, init)
    // The caller's own: that of a Request follows it by a weak reference, and is deaf once the Request is collected.
    const signal = init?.signal ?? asked.signal
    signal.throwIfAborted()
    const connection = new AbortController()
    const headers = new Headers(asked.headers)
    let answer: ScriptedAnswer | undefined
    for (const fault of present) {
      if (fault.kind === 'restart') server = fault.to
      else if (fault.kind === 'strip') headers.delete(fault.header)
      else if (fault.kind === 'status') answer ??= scripted(fault.answers)
    }
    // A body is read whole: what is half sent does not reach a handler here.
    const body = asked.body ? await asked.arrayBuffer() : null
    const request = new Request(asked.url, { method: asked.method, headers, body, signal: connection.signal })
    const exchange = new Exchange(connection, signal, async () => {
      const response = answer ? scriptedResponse(answer) : await server(request)
      let path = pathOf(response.body)
      for (const fault of present) path = withFault(path, fault, { clock, random })
      const isLost = present.some(({ kind }) => kind === 'duplicate')
      const isCut = present.some((fault) => fault.kind === 'dropping' && fault.afterBytes === 'head')
      if (isLost || isCut) {
        path.cancel()
        throw broken()
      }
      return { response, path, isHeld: present.some(holdsHead) }
    })
    return exchange.run()
  }
}

/** What a server answered, on its way. */
interface Answered {
  readonly response: Response
  readonly path: Path
  readonly isHeld: boolean
}

/** One request and its response, from the client's side. */
class Exchange {
  readonly #connection: AbortController
  readonly #signal: AbortSignal
  readonly #ask: () => Promise<Answered>
  #path: Path | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #isOver = false

  /**
   * @param connection - aborted when the server's side of the connection closes.
   * @param ask - kept to the end, and with it the server's request, whose signal would otherwise fall silent.
   */
  constructor(connection: AbortController, signal: AbortSignal, ask: () => Promise<Answered>) {
    this.#connection = connection
    this.#signal = signal
    this.#ask = ask
  }

  async run(): Promise<Response> {
    let abort = () => {}
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        this.#leave()
        this.#controller?.error(this.#signal.reason)
        reject(this.#signal.reason)
      }
    })
    aborted.catch(() => {})
    this.#signal.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([this.#answer(), aborted])
    } catch (error) {
      this.#leave()
      this.#signal.removeEventListener('abort', abort)
      throw error instanceof TypeError || this.#signal.aborted ? error : new TypeError('fetch failed', { cause: error })
    }
  }

  async #answer(): Promise<Response> {
    const { response, path, isHeld } = await this.#ask()
    this.#path = path
    if (this.#isOver) {
      path.cancel()
      throw broken()
    }
    let first = isHeld ? await path.pull() : undefined
    if (response.body === null) {
      this.#isOver = true
      return response
    }
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: async (controller) => {
          try {
            const bytes = first === undefined ? await path.pull() : first
            first = undefined
            if (this.#isOver) return
            if (bytes !== null) return controller.enqueue(bytes)
            this.#isOver = true
            controller.close()
          } catch (error) {
            if (this.#isOver) return
            this.#leave()
            controller.error(error)
          }
        },
        cancel: () => this.#leave(),
      },
      // Nothing is pulled ahead of the reader: its backpressure reaches the server.
      { highWaterMark: 0 },
    )
    return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers })
  }

  /** The client's side is gone. Whether the server hears of it is up to the path. */
  #leave(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#path) this.#path.cancel()
    else this.#connection.abort()
  }
}

function scriptedResponse({ status, headers = {}, body }: ScriptedAnswer): Response {
  return new Response(body ?? null, { status, headers })
}

/** A small generator (mulberry32), so that a seed says all. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
