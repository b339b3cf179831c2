// Chat sessions that outlive their connections. Whoever was away gets a little by the stream and the rest by pages.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import type { Clock } from 'steady-sse'
import { type ConnectOptions, connect, type EventStream } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createOutbox, type Outbox } from 'steady-sse/outbox'
import { createHub } from 'steady-sse/server'
import { type Fault, simulate, virtualClock } from 'steady-sse/testing'
import { receive, sse } from 'steady-sse/web'

/** The server: `/:session/events`, `/:session/history?after=` and `/:session/messages`. */
export function sessions(handle: (session: string, text: string) => void, clock?: Clock, maxReplay = 200) {
  const hub = createHub({ store: memoryStore(), maxReplay, clock }) // what is beyond becomes a gap
  const sessionOf = ({ url }: Request) => new URL(url).pathname.split('/')[1] ?? ''
  const events = sse(hub, { stream: sessionOf })
  const messages = receive<string>((text, { request }) => handle(sessionOf(request), text), { clock })
  async function serve(request: Request) {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname.endsWith('/events')) return events(request)
    if (pathname.endsWith('/messages')) return messages(request)
    return Response.json(await hub.read(sessionOf(request), { after: searchParams.get('after') ?? undefined }))
  }
  return { hub, serve }
}

/** The client: the transcript, and what the user says. */
export class Conversation {
  readonly transcript: string[] = []
  readonly stream: EventStream
  readonly outbox: Outbox
  readonly #history: (after: string) => Promise<Response>
  readonly #done: Promise<void>

  constructor(session: string, options: Pick<ConnectOptions, 'fetch' | 'clock' | 'cursor'>) {
    this.#history = (after) => (options.fetch ?? fetch)(`${session}/history?after=${after}`)
    this.stream = connect(`${session}/events`, options)
    this.outbox = createOutbox(`${session}/messages`, { ...options, stream: this.stream })
    this.#done = this.#read()
  }

  async close() {
    this.stream.close()
    await this.outbox.close()
    await this.#done
  }

  async #read() {
    for await (const item of this.stream) {
      if (item.type === 'gap') await this.#fill(item.id)
      else this.transcript.push(item.data)
    }
  }

  /** Loads what lies between the last item and this place, by pages: requests like any other, to be repeated like others. */
  async #fill(place: string) {
    for (let at = this.stream.cursor; at !== null && at !== place; ) {
      const { items } = await (await this.#history(at)).json()
      if (items.length === 0) return
      for (const item of items) {
        if (at === place) return
        this.transcript.push(item.type === 'event' ? item.data : `(missing: ${item.reason})`)
        at = item.id
      }
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = virtualClock()
  const heard: string[] = []
  const { hub, serve } = sessions((_, text) => void heard.push(text), clock)
  // Of the first sends, one finds the server too busy, and of one the answer is lost.
  const faults: Fault[] = [{ kind: 'status', answers: [{ status: 503 }] }, { kind: 'duplicate' }]
  const sends = simulate(serve, { clock, faults: (attempt) => faults.slice(attempt - 1, attempt) })
  const reads = simulate(serve, { clock })
  const ask: typeof fetch = (input, init) => (init?.method === 'POST' ? sends : reads)(input, init)
  const morning = new Conversation('http://chat.test/trip', { clock, fetch: ask })
  await morning.stream.ready
  await morning.close() // the phone goes into a pocket
  const lines = Array.from({ length: 6_000 }, (_, n) => `line ${n}`)
  for (const data of lines) await hub.publish('trip', { data })

  const evening = new Conversation('http://chat.test/trip', { clock, fetch: ask, cursor: morning.stream.cursor })
  const said = ['I am back', 'Anything new?', 'I see']
  for (const text of said) evening.outbox.send(text).catch(console.error)
  await clock.advance(60_000)
  console.log(`away for 6000 lines: ${hub.stats().gaps} gap, ${evening.transcript.length} lines; heard: ${heard}`)
  assert.equal(hub.stats().gaps, 1)
  assert.deepEqual([evening.transcript, heard], [lines, said])
  await evening.close()
  await hub.close()
}
