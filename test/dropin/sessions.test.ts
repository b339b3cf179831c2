import { describe, expect, test } from 'vitest'
import { Conversation, sessions } from '../../examples/dropin/sessions.js'
import { connect } from '../../src/client/index.js'
import { type Fault, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'

const LINES = 6_000
const MAX_REPLAY = 200
const CUTS = 10
const SAID = Array.from({ length: 6 }, (_, n) => `said ${n}`)
const line = (n: number) => `line ${n}`

/** What the user's device does. */
interface Device {
  readonly transcript: readonly string[]
  say(text: string): void
  close(): Promise<unknown>
}
interface Network {
  readonly fetch: typeof fetch
  readonly clock: VirtualClock
  readonly cursor: string | null
}
type MakeDevice = (network: Network) => Device

const dropIn: MakeDevice = (network) => {
  const conversation = new Conversation('http://chat.test/trip', network)
  return {
    transcript: conversation.transcript,
    say: (text) => void conversation.outbox.send(text),
    close: () => conversation.close(),
  }
}

/** Takes a gap for nothing. */
const deafToGaps: MakeDevice = (network) => {
  const stream = connect('http://chat.test/trip/events', network)
  const transcript: string[] = []
  const reading = (async () => {
    for await (const item of stream) if (item.type === 'event') transcript.push(item.data)
  })()
  return {
    transcript,
    say() {},
    async close() {
      stream.close()
      await reading
    },
  }
}

/** As it was: what failed goes to the end of the queue, under a new name. */
const requeuesAtTheTail: MakeDevice = (network) => {
  const conversation = new Conversation('http://chat.test/trip', network)
  const queue: string[] = []
  let isRunning = false
  const run = async () => {
    isRunning = true
    for (let text = queue.shift(); text !== undefined; text = queue.shift()) {
      const headers = { 'idempotency-key': crypto.randomUUID(), 'content-type': 'text/plain' }
      const sent = network.fetch('http://chat.test/trip/messages', { method: 'POST', body: text, headers })
      if (await sent.then(({ ok }) => ok).catch(() => false)) continue
      queue.push(text)
      await new Promise<void>((resolve) => network.clock.setTimeout(resolve, 1_000))
    }
    isRunning = false
  }
  return {
    transcript: conversation.transcript,
    say(text) {
      queue.push(text)
      if (!isRunning) void run()
    },
    close: () => conversation.close(),
  }
}

interface Return {
  /** Events that came over the stream, by all responses. */
  readonly streamed: number
  readonly gaps: number
  readonly heard: readonly string[]
  readonly transcript: readonly string[]
}

/** A device was away for thousands of lines; it comes back on a path that is cut ten times, and its sends fail, too. */
async function comesBack(make: MakeDevice, maxReplay = MAX_REPLAY): Promise<Return> {
  const clock = virtualClock()
  const heard: string[] = []
  const { hub, serve } = sessions((_, text) => void heard.push(text), clock, maxReplay)
  await hub.publish('trip', { data: line(0) })
  const { head: cursor } = await hub.read('trip')
  for (let n = 1; n <= LINES; n++) await hub.publish('trip', { data: line(n) })

  // Of the streams, ten are cut; of the sends, some find no server, and of some the answer is lost.
  const cut = (attempt: number): Fault[] => (attempt <= CUTS ? [{ kind: 'dropping', afterBytes: 2_000 }] : [])
  const failing = (attempt: number): Fault[] => {
    if (attempt > 8) return []
    return [attempt % 2 ? { kind: 'status', answers: [{ status: 503 }] } : { kind: 'duplicate' }]
  }
  const paths = {
    events: simulate(serve, { clock, faults: cut }),
    messages: simulate(serve, { clock, faults: failing }),
    history: simulate(serve, { clock }),
  }
  let streamed = 0
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const kind = new URL(new Request(input).url).pathname.split('/')[2] as keyof typeof paths
    const response = await paths[kind](input, init)
    if (kind !== 'events' || !response.body) return response
    const count = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        streamed += new TextDecoder().decode(bytes).match(/^data: line/gm)?.length ?? 0
        controller.enqueue(bytes)
      },
    })
    return new Response(response.body.pipeThrough(count), response)
  }

  const device = make({ fetch, clock, cursor })
  for (const text of SAID) device.say(text)
  await clock.advance(600_000)
  const { gaps } = hub.stats()
  const { transcript } = device
  await device.close()
  await hub.close()
  await clock.advance(60_000)
  expect(clock.pending, 'left behind').toBe(0)
  return { streamed, gaps, heard, transcript }
}

/** A little comes by the stream, however often it is cut, and one gap stands for the rest. */
async function noStorm(make: MakeDevice, maxReplay?: number): Promise<void> {
  const { streamed, gaps } = await comesBack(make, maxReplay)
  expect(streamed, 'a storm').toBeLessThanOrEqual(MAX_REPLAY + CUTS)
  expect(gaps).toBeGreaterThanOrEqual(1)
}

/** What the stream did not bring is loaded, in its place. */
async function nothingMissing(make: MakeDevice): Promise<void> {
  const { transcript } = await comesBack(make)
  expect(transcript.length, 'lines are missing').toBe(LINES)
  expect(transcript).toEqual(Array.from({ length: LINES }, (_, n) => line(n + 1)))
}

/** What the user said is heard once and in order. */
async function heardInOrder(make: MakeDevice): Promise<void> {
  const { heard } = await comesBack(make)
  expect(heard, 'not once, not in order').toEqual(SAID)
}

type MakeSend = (network: Network) => { send(text: string): Promise<boolean>; close(): Promise<unknown> }

const dropInSend: MakeSend = (network) => {
  const conversation = new Conversation('http://chat.test/trip', network)
  return {
    // A full outbox throws at once; what else becomes of a message, its promise tells.
    send: async (text) => {
      try {
        await conversation.outbox.send(text)
        return true
      } catch {
        return false
      }
    },
    close: () => conversation.close(),
  }
}

/** As it was: a hundred fit, the oldest is dropped for the newest, and whoever sends is told yes. */
const sayingYes: MakeSend = ({ fetch, clock }) => {
  const queue: string[] = []
  let cancel = () => {}
  const flush = async () => {
    for (let text = queue[0]; text !== undefined; text = queue[0]) {
      const headers = { 'idempotency-key': text, 'content-type': 'text/plain' }
      const sent = fetch('http://chat.test/trip/messages', { method: 'POST', body: text, headers })
      if (!(await sent.then(({ ok }) => ok).catch(() => false))) break
      queue.shift()
    }
    cancel = clock.setTimeout(() => void flush(), 1_000)
  }
  void flush()
  return {
    async send(text) {
      queue.push(text)
      if (queue.length > 100) queue.shift()
      return true
    },
    async close() {
      cancel()
    },
  }
}

/** A hundred and fifty messages while the server is away: those that are said to be sent are those that are heard. */
async function saysWhatWasHeard(make: MakeSend): Promise<void> {
  const clock = virtualClock()
  const heard: string[] = []
  const { hub, serve } = sessions((_, text) => void heard.push(text), clock)
  const back = clock.now() + 60_000
  const unanswered: Fault[] = [{ kind: 'dropping', afterBytes: 'head' }]
  const faults = () => (clock.now() < back ? unanswered : [])
  const device = make({ clock, cursor: null, fetch: simulate(serve, { clock, faults }) })
  const texts = Array.from({ length: 150 }, (_, n) => `said ${n}`)
  const accepted = Promise.all(texts.map((text) => device.send(text)))
  await clock.advance(300_000)
  const ends = await accepted
  const said = texts.filter((_, index) => ends[index])
  await device.close()
  await hub.close()
  expect(heard.toSorted(), 'said to be sent').toEqual(said.toSorted())
}

describe('a chat session whose device was away', () => {
  test('gets no storm of frames, however often the path is cut', async () => {
    await noStorm(dropIn)
  })

  test('without the bound of a replay, the check is red', async () => {
    await expect(noStorm(dropIn, Number.POSITIVE_INFINITY)).rejects.toThrow('a storm')
  })

  test('loads by pages what the gap stands for, and has each line once, in its place', async () => {
    await nothingMissing(dropIn)
  })

  test('without a branch for gaps, the check is red', async () => {
    await expect(nothingMissing(deafToGaps)).rejects.toThrow('lines are missing')
  })

  test('is heard once and in order, though sends fail and answers are lost', async () => {
    await heardInOrder(dropIn)
  })

  test('with a queue that puts what failed at its end, as in the shape that it replaces, the check is red', async () => {
    await expect(heardInOrder(requeuesAtTheTail)).rejects.toThrow('not once, not in order')
  })

  test('is told of each message whether it was heard', async () => {
    await saysWhatWasHeard(dropInSend)
  })

  test('with a full queue that drops what it said it had sent, the check is red', async () => {
    await expect(saysWhatWasHeard(sayingYes)).rejects.toThrow('said to be sent')
  })
})
