import { createRequire } from 'node:module'
import type { Transform } from 'node:stream'
import { createParser } from 'eventsource-parser'
import { type Dispatched, WhatwgParser } from './whatwg-parser.js'

/** What a client of somebody else's makes of an event stream. */
export interface Heard {
  readonly events: readonly Dispatched[]
  /** The last reconnection time that it was told. */
  readonly retry: number | undefined
}

export type ForeignParser = (chunks: readonly Uint8Array[]) => Heard

const byEventsourceParser: ForeignParser = (chunks) => {
  const decoder = new TextDecoder()
  const events: Dispatched[] = []
  let lastEventId = ''
  let told: number | undefined
  const parser = createParser({
    onRetry: (ms) => {
      told = ms
    },
    onEvent({ event, data, id }) {
      lastEventId = id ?? lastEventId
      events.push({ type: event || 'message', data, lastEventId })
    },
  })
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }))
  return { events, retry: told }
}

const byTheStandard: ForeignParser = (chunks) => {
  const events: Dispatched[] = []
  const parser = new WhatwgParser((event) => events.push(event))
  for (const chunk of chunks) parser.push(chunk)
  return { events, retry: parser.retry }
}

interface UndiciState {
  reconnectionTime?: number
  lastEventId?: string
}

interface UndiciEvent {
  readonly type: string
  readonly options: { readonly data: string; readonly lastEventId: string }
}

// It has no public name; what is under test is that we are understood by it.
const { EventSourceStream } = createRequire(import.meta.url)('undici/lib/web/eventsource/eventsource-stream.js') as {
  EventSourceStream: new (options: { eventSourceSettings: UndiciState }) => Transform
}

const byUndici: ForeignParser = (chunks) => {
  const state: UndiciState = { lastEventId: '' }
  const stream = new EventSourceStream({ eventSourceSettings: state })
  const events: Dispatched[] = []
  for (const chunk of chunks) {
    stream.write(Buffer.from(chunk))
    for (let part = stream.read() as UndiciEvent | null; part; part = stream.read() as UndiciEvent | null) {
      const { type, options } = part
      events.push({ type, data: options.data, lastEventId: options.lastEventId })
    }
  }
  return { events, retry: state.reconnectionTime }
}

export const foreignParsers: readonly (readonly [string, ForeignParser])[] = [
  ['eventsource-parser', byEventsourceParser],
  ["the standard's words", byTheStandard],
  ['undici', byUndici],
]
