import { describe, expect, test } from 'vitest'
import { Inbox, messageService } from '../../examples/dropin/messages.js'
import { type Handler, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { turns } from '../support/turns.js'

const INTERVAL = 15_000
const BEAT = new TextEncoder().encode(': 1\n\n')
const HEAD = { headers: { 'content-type': 'text/event-stream' } }

/** A message service, as agents see it. */
interface Service {
  readonly serve: Handler
  send(text: string): Promise<unknown>
  close(): Promise<unknown>
}
type MakeService = (clock: VirtualClock) => Service

const dropIn: MakeService = (clock) => {
  const { hub, serve, send } = messageService(INTERVAL, clock)
  return { serve, send: (text) => send('ada', { from: 'bob', text }), close: () => hub.close() }
}

/** A loop per connection that waits for a message or the interval, and sends a heartbeat whenever it turns. */
const beatPerTurn: MakeService = (clock) => {
  const loops = new Set<(text?: string) => void>()
  return {
    serve() {
      let cancel = () => {}
      let stop = () => {}
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const turn = (text?: string) => {
            cancel()
            if (text !== undefined) controller.enqueue(new TextEncoder().encode(`data: ${text}\n\n`))
            controller.enqueue(BEAT)
            cancel = clock.setTimeout(turn, INTERVAL)
          }
          turn()
          loops.add(turn)
          stop = () => {
            cancel()
            loops.delete(turn)
          }
        },
        cancel: () => stop(),
      })
      return new Response(body, HEAD)
    },
    async send(text) {
      for (const turn of loops) turn(text)
    },
    async close() {},
  }
}

/** An interval per connection that outlives it, and beats for whatever connection its agent has then. */
const intervalsThatStay: MakeService = (clock) => {
  const timers = new Set<() => void>()
  let open: ReadableStreamDefaultController<Uint8Array> | undefined
  const setInterval = (beat: () => void) => {
    const cancel = clock.setTimeout(() => {
      timers.delete(cancel)
      setInterval(beat)
      beat()
    }, INTERVAL)
    timers.add(cancel)
  }
  return {
    serve() {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          open = controller
          setInterval(() => open?.enqueue(BEAT))
        },
        cancel() {
          open = undefined
        },
      })
      return new Response(body, HEAD)
    },
    async send(text) {
      open?.enqueue(new TextEncoder().encode(`data: ${text}\n\n`))
    },
    async close() {
      for (const cancel of timers) cancel()
    },
  }
}

/** Notes when a connection opened, and when it was sent a heartbeat. */
class Watched {
  readonly beats: number[]
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined

  private constructor(response: Response, clock: VirtualClock) {
    this.beats = [clock.now()]
    this.#reader = response.body?.getReader()
    void this.#read(clock)
  }

  static async open({ serve }: Service, clock: VirtualClock): Promise<Watched> {
    return new Watched(await serve(new Request('http://hub.test/', { headers: { 'x-agent-id': 'ada' } })), clock)
  }

  async leave(): Promise<void> {
    await this.#reader?.cancel()
    await turns()
  }

  /** The opening counts as one: nobody needs a heartbeat right after it. */
  get closest(): number {
    return Math.min(...this.beats.slice(1).map((at, index) => at - (this.beats[index] ?? 0)))
  }

  async #read(clock: VirtualClock) {
    for (let part = await this.#reader?.read(); part && !part.done; part = await this.#reader?.read()) {
      const frames = new TextDecoder().decode(part.value).split('\n\n')
      for (const frame of frames) if (frame.startsWith(': ')) this.beats.push(clock.now())
    }
  }
}

/** Over reconnects, a busy hour and a suspended process: heartbeats keep their distance, and do not fail to come. */
async function keepsItsDistance(make: MakeService): Promise<void> {
  const clock = virtualClock()
  const service = make(clock)
  const all: Watched[] = []
  const open = async () => {
    const watched = await Watched.open(service, clock)
    all.push(watched)
    return watched
  }
  for (let n = 0; n < 30; n++) {
    const brief = await open()
    await clock.advance(1_000)
    await brief.leave()
  }
  const last = await open()
  for (let n = 0; n < 30; n++) {
    for (let m = 0; m < 5; m++) await service.send(`message ${n}`)
    await clock.advance(40)
  }
  await clock.advance(60_000)
  clock.freeze()
  await clock.advance(600_000)
  clock.thaw()
  await clock.advance(60_000)
  const before = last.beats.length
  await clock.advance(600_000)
  await last.leave()
  await service.close()
  expect(Math.min(...all.map(({ closest }) => closest)), 'a flood').toBeGreaterThanOrEqual(INTERVAL / 2)
  expect(last.beats.length - before, 'silence').toBeGreaterThanOrEqual(600_000 / INTERVAL - 2)
}

describe('a message service', () => {
  test('sends its heartbeats apart, whatever reconnects, traffic and suspension do', async () => {
    await keepsItsDistance(dropIn)
  })

  test('with a heartbeat per turn of a loop in place of the schedule, the check is red', async () => {
    await expect(keepsItsDistance(beatPerTurn)).rejects.toThrow('a flood')
  })

  test('with an interval per connection in place of the schedule, the check is red', async () => {
    await expect(keepsItsDistance(intervalsThatStay)).rejects.toThrow('a flood')
  })

  test('an agent on a server that floods is called for its messages alone', async () => {
    const clock = virtualClock()
    const service = beatPerTurn(clock)
    const inbox = new Inbox('http://hub.test/', 'ada', { clock, fetch: simulate(service.serve, { clock }) })
    const heard: string[] = []
    inbox.listen(({ text }) => heard.push(text))
    await clock.advance(0)
    for (let n = 0; n < 100; n++) await service.send(JSON.stringify({ from: 'bob', text: String(n) }))
    await clock.advance(1_000)
    expect(heard).toEqual(Array.from({ length: 100 }, (_, n) => String(n)))
    await inbox.close()
    await clock.advance(0)
    expect(clock.pending).toBe(0)
  })
})

describe('an inbox', () => {
  test('that nobody empties holds no more than it may, and nothing is lost when somebody does', async () => {
    const clock = virtualClock()
    const { hub, serve, send } = messageService(INTERVAL, clock)
    const inbox = new Inbox('http://hub.test/', 'ada', { clock, fetch: simulate(serve, { clock }), maxWaiting: 10 })
    await inbox.stream.ready
    for (let n = 0; n < 100; n++) await send('ada', { from: 'bob', text: String(n) })
    await clock.advance(1_000)
    const taken: string[] = []
    for (let n = 0; n < 10; n++) {
      const some = inbox.take()
      expect(some).toHaveLength(10)
      taken.push(...some.map(({ text }) => text))
      await clock.advance(0)
    }
    expect(taken).toEqual(Array.from({ length: 100 }, (_, n) => String(n)))
    await inbox.close()
    await hub.close()
  })

  test('calls each of its listeners until that one leaves', async () => {
    const clock = virtualClock()
    const { hub, serve, send } = messageService(INTERVAL, clock)
    const inbox = new Inbox('http://hub.test/', 'ada', { clock, fetch: simulate(serve, { clock }) })
    const heard: string[] = []
    const leave = inbox.listen(({ text }) => heard.push(`a ${text}`))
    inbox.listen(({ text }) => heard.push(`b ${text}`))
    await inbox.stream.ready
    await send('ada', { from: 'bob', text: '1' })
    await clock.advance(0)
    leave()
    await send('ada', { from: 'bob', text: '2' })
    await clock.advance(0)
    expect(heard).toEqual(['a 1', 'b 1', 'b 2'])
    await inbox.close()
    await hub.close()
  })
})
