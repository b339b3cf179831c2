import http from 'node:http'
import { createParser } from 'eventsource-parser'

/** One event as it stood on the wire. */
export interface Frame {
  readonly event: string | undefined
  readonly data: string
  readonly id: string | undefined
  readonly retry: number | undefined
}

export type Address = { readonly port: number } | { readonly socketPath: string }

/** Collects the frames of an event stream, however it was cut into chunks. */
export class Frames {
  readonly frames: Frame[] = []
  readonly comments: string[] = []
  bytes = 0
  #retry: number | undefined
  readonly #decoder = new TextDecoder()
  readonly #parser = createParser({
    onRetry: (retry) => {
      this.#retry = retry
    },
    onComment: (comment) => this.comments.push(comment),
    onEvent: ({ event, data, id }) => {
      this.frames.push({ event, data, id, retry: this.#retry })
      this.#retry = undefined
    },
  })

  push(chunk: Uint8Array): void {
    this.bytes += chunk.length
    this.#parser.feed(this.#decoder.decode(chunk, { stream: true }))
  }

  /** The data of what is neither ready, gap nor end. */
  get events(): string[] {
    return this.frames.filter(({ event }) => !event?.startsWith('stream:')).map(({ data }) => data)
  }

  /** The names of all frames, `message` where there is none. */
  get names(): string[] {
    return this.frames.map(({ event }) => event ?? 'message')
  }

  /** The parsed data of the first frame of that name; empty when there is none. */
  json(event: string): Record<string, unknown> {
    return JSON.parse(this.frames.find((frame) => frame.event === event)?.data ?? '{}')
  }
}

/** One raw response over `node:http`: nothing of our client is in it. */
export class RawReader extends Frames implements AsyncDisposable {
  readonly response: http.IncomingMessage
  body = ''
  /** Whether the response is over. */
  over = false
  /** Whether it was completed, as opposed to cut off. */
  complete = false
  #checks = new Set<() => void>()

  constructor(response: http.IncomingMessage) {
    super()
    this.response = response
    const finish = () => {
      this.over = true
      this.complete = response.complete
      this.#check()
    }
    response.on('data', (chunk: Buffer) => {
      if (this.isStream) this.push(chunk)
      else this.body += chunk.toString()
      this.#check()
    })
    response.on('error', () => {})
    response.on('close', finish)
  }

  get isStream(): boolean {
    return this.response.headers['content-type'] === 'text/event-stream'
  }

  get status(): number {
    return this.response.statusCode ?? 0
  }

  /** Waits until `check` holds. Rejects when the response is over before that. */
  until(check: (reader: this) => boolean): Promise<this> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (check(this)) resolve(this)
        else if (this.over) reject(new Error(`The response was over with ${this.names.join()} ${this.body}`))
        else return
        this.#checks.delete(look)
      }
      this.#checks.add(look)
      look()
    })
  }

  end(): Promise<this> {
    return this.until(({ over }) => over)
  }

  destroy(): void {
    this.response.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy()
    await this.end()
  }

  #check(): void {
    for (const look of [...this.#checks]) look()
  }
}

export interface ReadOptions {
  readonly cursor?: string | undefined
  readonly headers?: http.OutgoingHttpHeaders
  readonly method?: string
}

/** Sends a request, on a socket of its own, and resolves with the head. */
export function read(address: Address, path = '/', options: ReadOptions = {}): Promise<RawReader> {
  const { cursor, headers = {}, method = 'GET' } = options
  return new Promise((resolve, reject) => {
    const all = cursor === undefined ? headers : { ...headers, 'last-event-id': cursor }
    http
      .request({ ...address, host: '127.0.0.1', path, method, headers: all, agent: false }, (response) =>
        resolve(new RawReader(response)),
      )
      .on('error', reject)
      .end()
  })
}
