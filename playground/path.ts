// The path between a page and the hub: a small HTTP proxy that can be disturbed while it works.
import { once } from 'node:events'
import { request as ask, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { listen, portOf } from './listen.js'

export type Fault = 'none' | 'slow' | 'buffering' | 'halfOpen'

/** What a visitor is told while a fault is on: what happens, and which promise holds. */
export const STORIES: Readonly<Record<Fault | 'cut', string>> = {
  none: 'The path passes everything on at once. Promise: ordered, once, or announced.',
  slow: 'The path takes 32 KB a second. The hub keeps a position for this client and no queue, so nobody else waits; if it falls behind what is retained, a gap counts what is missing. Promise: bounded.',
  buffering:
    'The path holds each response until it ends, as some proxies do. The client turns to polls, one batch per response, and goes back to streaming once that works. Promise: alive, and known to be.',
  halfOpen:
    'Requests arrive and no byte comes back, and nobody is told. Three missed heartbeats tell the client; a message whose answer is lost is sent again with the same key, and handled once. Promise: sends are accounted for.',
  cut: 'The connection broke off, without a goodbye. The client waits as long as the server asked, and goes on behind the last whole event. Promise: ordered, once, or announced.',
}

const SLOW_BYTES_PER_SECOND = 32 * 1024
const PIECES_PER_SECOND = 10
/** What a buffering proxy holds at most. */
const MOST_HELD_BYTES = 4 * 1024 * 1024
/** A proxy gives up on a server that is silent for so long; a minute, in the real world. */
const IDLE_MS = 10_000
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding']
/** The page comes from another port, so its browser has to be told what it may send and see. */
const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-headers': 'content-type, idempotency-key, last-event-id, sse-connection',
  'access-control-expose-headers': 'idempotency-replayed, retry-after',
  'access-control-max-age': '600',
}

/** One path: all that one client sends and receives goes through it. */
export class Path {
  readonly #upstream: string
  readonly #server: Server
  readonly #passages = new Set<Passage>()
  #fault: Fault = 'none'

  /** @param upstream - the socket that the hub listens on. */
  constructor(upstream: string) {
    this.#upstream = upstream
    this.#server = createServer((request, response) => this.#forward(request, response))
  }

  async listen(port: number, host: string): Promise<void> {
    await listen(this.#server, port, host)
  }

  get port(): number {
    return portOf(this.#server)
  }

  get fault(): Fault {
    return this.#fault
  }

  set fault(fault: Fault) {
    this.#fault = fault
    for (const passage of this.#passages) {
      // A link that lost bytes cannot go on; and a proxy that takes the place of another cuts what went through that.
      if (passage.lostBytes || fault === 'buffering') passage.cut()
    }
  }

  /** Breaks off what is under way, in the middle and without a goodbye: what a network does when it fails. */
  cut(): void {
    for (const passage of this.#passages) passage.cut()
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const { method, url, headers } = request
    // As a gateway does: what a browser asks beforehand gets no further.
    if (method === 'OPTIONS') {
      response.writeHead(204, CORS).end()
      return
    }
    const upstream = ask({ socketPath: this.#upstream, agent: false, method, path: url, headers })
    const passage = new Passage(response, () => this.#fault)
    this.#passages.add(passage)
    response.on('close', () => {
      this.#passages.delete(passage)
      upstream.destroy()
    })
    upstream.on('response', (answer) => void passage.carry(answer))
    upstream.on('error', () => passage.refuse())
    request.pipe(upstream)
  }
}

/** One response on its way back. */
class Passage {
  lostBytes = false
  readonly #response: ServerResponse
  readonly #fault: () => Fault
  #head: IncomingMessage | undefined
  #held: Uint8Array[] = []
  #heldBytes = 0

  constructor(response: ServerResponse, fault: () => Fault) {
    this.#response = response
    this.#fault = fault
  }

  cut(): void {
    this.#response.destroy()
  }

  /** There is no server behind the path. */
  refuse(): void {
    if (this.#response.headersSent) this.cut()
    else this.#response.writeHead(502, CORS).end()
  }

  async carry(answer: IncomingMessage): Promise<void> {
    this.#head = answer
    answer.setTimeout(IDLE_MS, () => this.cut())
    try {
      this.#passHead()
      for await (const bytes of answer) await this.#pass(bytes)
      if (this.#fault() === 'halfOpen') return this.#lose()
      await this.#release()
      this.#response.end()
    } catch {
      this.cut()
    }
  }

  async #pass(bytes: Uint8Array): Promise<void> {
    switch (this.#fault()) {
      case 'halfOpen':
        return this.#lose()
      case 'buffering':
        this.#held.push(bytes)
        this.#heldBytes += bytes.length
        if (this.#heldBytes > MOST_HELD_BYTES) this.cut()
        return
      case 'slow':
        await this.#release()
        return this.#trickle(bytes)
      default:
        await this.#release()
        return this.#write(bytes)
    }
  }

  #lose(): void {
    this.lostBytes = true
  }

  /** The head goes on at once, unless it is held, or lost. */
  #passHead(): void {
    const fault = this.#fault()
    if (fault === 'halfOpen') this.#lose()
    else if (fault !== 'buffering') this.#sendHead()
  }

  #sendHead(): void {
    if (this.#response.headersSent || !this.#head) return
    const { statusCode = 502, headers } = this.#head
    const fields = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name))
    this.#response.writeHead(statusCode, { ...Object.fromEntries(fields), ...CORS }).flushHeaders()
  }

  /** Passes on what was held. */
  async #release(): Promise<void> {
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    this.#sendHead()
    for (const bytes of held) await this.#write(bytes)
  }

  async #trickle(bytes: Uint8Array): Promise<void> {
    const size = Math.ceil(SLOW_BYTES_PER_SECOND / PIECES_PER_SECOND)
    for (let at = 0; at < bytes.length; at += size) {
      if (this.#fault() === 'slow') await delay(1_000 / PIECES_PER_SECOND)
      await this.#write(bytes.subarray(at, at + size))
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#response.destroyed || this.#response.write(bytes)) return
    const settled = new AbortController()
    const either = ['drain', 'close'].map((name) => once(this.#response, name, { signal: settled.signal }))
    await Promise.race(either).finally(() => settled.abort())
  }
}
