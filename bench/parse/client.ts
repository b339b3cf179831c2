// The process of the client under test: it reads events until it has all.
import { fetchEventSource } from '@microsoft/fetch-event-source'
import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import { createParser } from 'eventsource-parser'
import { connect } from 'steady-sse/client'
import { EventSource as UndiciEventSource } from 'undici'
import { answer, cpu } from '../child.js'

/** Reads, hands the data of each event to `each`, and stops when that is true. */
type Read = (url: string, each: (data: string) => boolean) => Promise<void>

interface MessageSource {
  onmessage: ((event: { data: string }) => void) | null
  close(): void
}

function untilDone(source: MessageSource, each: (data: string) => boolean): Promise<void> {
  return new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      if (!each(data)) return
      source.close()
      resolve()
    }
  })
}

const readers: Record<string, Read> = {
  async 'fetch + eventsource-parser'(url, each) {
    const leaving = new AbortController()
    const response = await fetch(url, { signal: leaving.signal })
    const reader = response.body?.getReader()
    const decoder = new TextDecoder()
    let done = false
    const parser = createParser({
      onEvent({ data }) {
        done = each(data) || done
      },
      maxBufferSize: 16 * 1024 * 1024,
    })
    while (reader && !done) {
      const { value } = await reader.read()
      parser.feed(decoder.decode(value, { stream: true }))
    }
    leaving.abort()
  },
  async 'steady-sse'(url, each) {
    for await (const item of connect(url)) if (item.type === 'event' && each(item.data)) break
  },
  'eventsource-client': (url, each) =>
    new Promise((resolve) => {
      const source = createEventSource({
        url,
        onMessage({ data }) {
          if (!each(data)) return
          source.close()
          resolve()
        },
      })
    }),
  eventsource: (url, each) => untilDone(new EventSource(url) as unknown as MessageSource, each),
  async '@microsoft/fetch-event-source'(url, each) {
    const leaving = new AbortController()
    const document = { hidden: false, addEventListener() {}, removeEventListener() {} }
    Object.assign(globalThis, { window: globalThis, document })
    await fetchEventSource(url, {
      signal: leaving.signal,
      openWhenHidden: true,
      fetch,
      onmessage({ data }) {
        if (each(data)) leaving.abort()
      },
    })
  },
  undici: (url, each) => untilDone(new UndiciEventSource(url) as unknown as MessageSource, each),
}

const verbs = {
  names: () => Object.keys(readers),
  /** Reads so many events. Returns milliseconds and CPU milliseconds. */
  async read(name: string, url: string, count: number) {
    let next = 0
    let disordered = 0
    const before = cpu()
    const begun = performance.now()
    await readers[name]?.(url, (data) => {
      if (Number(data.slice(1, 8)) !== next) disordered++
      next++
      return next === count
    })
    const found = { ms: performance.now() - begun, cpuMs: (cpu() - before) / 1_000, next, disordered }
    return found
  },
}

export type ClientVerbs = typeof verbs

answer(verbs)
