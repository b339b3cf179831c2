import { fetchEventSource } from '@microsoft/fetch-event-source'
import { EventSource as EventSourcePackage } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import { EventSource as UndiciEventSource } from 'undici'

/** One event as a client hands it over. */
export interface Handed {
  readonly event: string
  readonly data: string
  readonly id: string
}

export interface ReadOptions {
  /** Called with each event of a name in `NAMES`. */
  readonly onEvent: (handed: Handed) => void
  readonly headers?: Record<string, string>
  readonly fetch?: typeof fetch
}

export interface Reading {
  /** Resolves when the client has stopped by itself. */
  readonly over: Promise<void>
  close(): void
}

export interface ForeignClient {
  readonly name: string
  read(url: string, options: ReadOptions): Reading
}

/** An `EventSource` hears only what it is asked to listen for. */
export const NAMES = ['message', 'named', 'stream:ready', 'stream:gap', 'stream:end']

interface AnyEventSource {
  readonly readyState: number
  addEventListener(name: string, listener: (event: { type: string }) => void): void
  close(): void
}

function readingOf(source: AnyEventSource, onEvent: ReadOptions['onEvent']): Reading {
  for (const name of NAMES) {
    source.addEventListener(name, (event) => {
      const { data = '', lastEventId = '' } = event as { data?: string; lastEventId?: string }
      onEvent({ event: name, data, id: lastEventId })
    })
  }
  const over = new Promise<void>((resolve) => {
    source.addEventListener('error', () => {
      // `readyState` is set before the event is dispatched, in some after.
      setImmediate(() => source.readyState === 2 && resolve())
    })
  })
  return { over, close: () => source.close() }
}

const eventsource: ForeignClient = {
  name: 'eventsource',
  read: (url, { onEvent, headers = {}, fetch: given = fetch }) =>
    readingOf(
      new EventSourcePackage(url, {
        fetch: (input, init) => given(input, { ...init, headers: { ...init.headers, ...headers } }),
      }),
      onEvent,
    ),
}

const undici: ForeignClient = {
  name: 'undici',
  read: (url, { onEvent }) => readingOf(new UndiciEventSource(url, { node: { reconnectionTime: 20 } }), onEvent),
}

const eventsourceClient: ForeignClient = {
  name: 'eventsource-client',
  read(url, { onEvent, headers = {}, fetch: given = fetch }) {
    let end = () => {}
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    const source = createEventSource({
      url,
      headers,
      fetch: (input, init) => given(input, init),
      onMessage: ({ event = 'message', data, id = '' }) => onEvent({ event, data, id }),
      // It is told so before it closes.
      onDisconnect: () => void setImmediate(() => source.readyState === 'closed' && end()),
    })
    return { over, close: () => source.close() }
  },
}

class Finished extends Error {}

const fetchEventSourcePackage: ForeignClient = {
  name: '@microsoft/fetch-event-source',
  read(url, { onEvent, headers = {}, fetch: given = fetch }) {
    // It is made for browsers.
    Object.assign(globalThis, { window: globalThis, document: { hidden: false, removeEventListener() {} } })
    const closing = new AbortController()
    const reading = fetchEventSource(url, {
      openWhenHidden: true,
      signal: closing.signal,
      headers,
      fetch: given,
      // As its own page shows: to stop, throw; to go on after an end, throw, too.
      onopen: async ({ status }) => {
        if (status === 204) throw new Finished()
      },
      onclose() {
        throw new Error('the response ended')
      },
      onerror(error) {
        if (error instanceof Finished) throw error
        return 20
      },
      onmessage: ({ event, data, id }) => onEvent({ event: event || 'message', data, id }),
    })
    const over = reading.catch((error: unknown) => {
      if (!(error instanceof Finished)) throw error
    })
    return { over, close: () => closing.abort() }
  },
}

export const foreignClients: readonly ForeignClient[] = [
  eventsource,
  undici,
  fetchEventSourcePackage,
  eventsourceClient,
]
