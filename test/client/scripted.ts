import type { EventStream } from '../../src/client/connect.js'
import type { StateChange } from '../../src/client/options.js'
import { nextTurn } from '../../src/protocol/clock.js'
import { encodeEvent } from '../../src/protocol/encode.js'
import type { StreamItem } from '../../src/protocol/event.js'

/** The server says nothing more, and keeps the response open. */
export const HANG = Symbol('hang')
/** The connection breaks. */
export const CUT = Symbol('cut')
type Now = string | Uint8Array | typeof HANG | typeof CUT
/** What a body does next; a promise makes the reader wait. */
export type Part = Now | Promise<Now>

export interface ScriptedRequest {
  readonly number: number
  readonly url: string
  readonly headers: Headers
  readonly init: RequestInit
  /** The cursor as a server reads it: the header's bytes as UTF-8, else the query. */
  readonly cursor: string | null
  answer(parts: Iterable<Part>, init?: ResponseInit): Response
}

export interface Scripted {
  readonly fetch: typeof fetch
  readonly requests: ScriptedRequest[]
  /** Bodies that were given out and neither read to the end, nor cancelled, nor broken. */
  open: number
  /** How many parts were taken from bodies. */
  pulled: number
}

const encoder = new TextEncoder()

/** A `fetch` without a network: each request is answered by `handle`. */
export function scripted(handle: (request: ScriptedRequest) => Response | Promise<Response>): Scripted {
  const script: Scripted = { fetch: run, requests: [], open: 0, pulled: 0 }

  function answer(parts: Iterable<Part>, init: ResponseInit, signal: AbortSignal): Response {
    const iterator = parts[Symbol.iterator]()
    let isOpen = true
    script.open++
    const finish = () => {
      if (isOpen) script.open--
      isOpen = false
      signal.removeEventListener('abort', finish)
    }
    signal.addEventListener('abort', finish)
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value: part } = iterator.next()
          const value = await part
          if (done) {
            finish()
            controller.close()
          } else if (value === CUT) {
            finish()
            controller.error(new TypeError('terminated'))
          } else if (value === HANG) {
            await new Promise(() => {})
          } else if (value !== undefined && isOpen) {
            script.pulled++
            controller.enqueue(typeof value === 'string' ? encoder.encode(value) : value)
          }
        },
        cancel: finish,
      },
      { highWaterMark: 0 },
    )
    return new Response(body, { headers: { 'content-type': 'text/event-stream' }, ...init })
  }

  async function run(input: unknown, init: RequestInit = {}): Promise<Response> {
    const url = String(input)
    const headers = new Headers(init.headers)
    const signal = init.signal ?? new AbortController().signal
    const request: ScriptedRequest = {
      number: script.requests.length + 1,
      url,
      headers,
      init,
      cursor: cursorOf(url, headers),
      answer: (parts, responseInit = {}) => answer(parts, responseInit, signal),
    }
    script.requests.push(request)
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))
    })
    return Promise.race([handle(request), aborted])
  }

  return script
}

function cursorOf(url: string, headers: Headers): string | null {
  const header = headers.get('last-event-id')
  if (header !== null) return new TextDecoder().decode(Uint8Array.from(header, (char) => char.charCodeAt(0)))
  return new URLSearchParams(url.split('?')[1] ?? '').get('lastEventId')
}

export interface Collected {
  readonly items: StreamItem[]
  /** The data of the events, and the reasons of the gaps in brackets. */
  readonly texts: string[]
  error: unknown
  done: boolean
}

/** Reads a stream in the background, as fast as it comes. */
export function collect(stream: EventStream): Collected {
  const collected: Collected = { items: [], texts: [], error: undefined, done: false }
  const read = async () => {
    try {
      for await (const item of stream) {
        collected.items.push(item)
        collected.texts.push(item.type === 'event' ? item.data : `[${item.reason}]`)
      }
    } catch (error) {
      collected.error = error
    }
    collected.done = true
  }
  void read()
  return collected
}

/** A listener that keeps what it hears. */
export function states(): { changes: StateChange[]; onState: (change: StateChange) => void } {
  const changes: StateChange[] = []
  return { changes, onState: (change) => changes.push(change) }
}

/** Lets everything that does not wait for time happen. */
export async function settle(turns = 3): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => nextTurn(resolve))
}

export function ready(data: Record<string, unknown> = {}, id?: string, retry = 1_000): string {
  const full = { connection: 'c1', resumed: 'new', heartbeatMs: 15_000, time: 1_763_740_000_000, ...data }
  return encodeEvent({ retry, event: 'stream:ready', data: JSON.stringify(full), id })
}

export function gap(id: string, reason = 'expired', missed: number | null = null): string {
  return encodeEvent({ event: 'stream:gap', data: JSON.stringify({ reason, missed }), id })
}

export function end(reason: string): string {
  return encodeEvent({ event: 'stream:end', data: JSON.stringify({ reason }) })
}

export function event(data: string, id?: string, name?: string): string {
  return encodeEvent({ event: name, data, id })
}

/** A part whose time the test decides. */
export function later(): { part: Promise<Now>; come: (part: Now) => void } {
  let come: (part: Now) => void = () => {}
  const part = new Promise<Now>((resolve) => {
    come = resolve
  })
  return { part, come: (value) => come(value) }
}

export const bytes = (text: string): Uint8Array => encoder.encode(text)
