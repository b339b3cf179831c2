import { describe, expect, test } from 'vitest'
import { type Broker, fromBroker, rooms, slowBroker } from '../../examples/dropin/rooms.js'
import { connect } from '../../src/client/index.js'
import type { Source } from '../../src/protocol/source.js'
import { type Handler, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'

const DELAY = 3_000
const NEVER = 1e9
const EVENT_STREAM = { 'content-type': 'text/event-stream' }

type SlowBroker = ReturnType<typeof slowBroker>
type MakeRooms = (broker: SlowBroker, clock: VirtualClock) => { serve: Handler; close(): Promise<unknown> }

const by =
  (toSource: (broker: Broker) => Source): MakeRooms =>
  (broker, clock) => {
    const { hub, serve } = rooms(toSource(broker), clock)
    return { serve, close: () => hub.close() }
  }

const dropIn = by(fromBroker)

/** Takes a subscription that was asked for to be one that exists. */
const lazy = by((broker) => ({
  async join(room, to) {
    return broker.subscribe(
      room,
      (data) => void to.event({ data }).catch(() => {}),
      () => {},
    )
  },
}))

/** Says nothing when the broker has lost it. */
const silentOfLoss = by((broker) =>
  fromBroker({
    subscribe: (room, message, status) => broker.subscribe(room, message, (is) => is === 'lost' || status(is)),
  }),
)

/** As it was: the response is open, and the subscription is on its way. */
const answersFirst: MakeRooms = (broker) => ({
  serve: (request) => {
    let leave = () => {}
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const encoder = new TextEncoder()
        controller.enqueue(encoder.encode('event: stream:ready\ndata: {"heartbeatMs":15000,"time":0}\n\n'))
        const room = new URL(request.url).pathname.slice(1)
        leave = broker.subscribe(
          room,
          (data) => controller.enqueue(encoder.encode(`data: ${data}\n\n`)),
          () => {},
        )
      },
      cancel: () => leave(),
    })
    return new Response(body, { headers: EVENT_STREAM })
  },
  async close() {},
})

/** Waits for its broker for so long, and then forgets that it has asked. */
const forgetsWhatItAsked: MakeRooms = (broker, clock) => ({
  serve: (request) =>
    new Promise((resolve) => {
      const room = new URL(request.url).pathname.slice(1)
      const joined = () => resolve(new Response(new ReadableStream(), { headers: EVENT_STREAM }))
      broker.subscribe(room, () => {}, joined)
      clock.setTimeout(() => resolve(new Response(null, { status: 503 })), 5_000)
    }),
  async close() {},
})

interface Room {
  readonly broker: SlowBroker
  readonly clock: VirtualClock
  readonly heard: string[]
  readonly stream: ReturnType<typeof connect>
}

/** One reader of a room. */
async function read(make: MakeRooms, check: (room: Room) => Promise<void>, delayMs = DELAY): Promise<void> {
  const clock = virtualClock()
  const broker = slowBroker(clock, delayMs)
  const { serve, close } = make(broker, clock)
  const stream = connect('http://hub.test/lobby', { clock, fetch: simulate(serve, { clock }) })
  const heard: string[] = []
  const reading = (async () => {
    for await (const item of stream) heard.push(item.type === 'event' ? item.data : `gap ${item.reason}`)
  })()
  try {
    await check({ broker, clock, heard, stream })
  } finally {
    stream.close()
    await reading
    await close()
  }
}

/** A page that acts as soon as it is told that it is connected hears what comes of it. */
async function hearsTheFirst({ broker, clock, heard, stream }: Room): Promise<void> {
  void stream.ready.then(() => broker.say('lobby', 'first'))
  await clock.advance(5_000)
  broker.say('lobby', 'second')
  await clock.advance(0)
  expect(heard, 'lost in silence').toEqual(['first', 'second'])
}

/** Until the broker has confirmed, nothing is answered. */
async function waitsForTheBroker({ clock, stream }: Room): Promise<void> {
  await clock.advance(DELAY - 100)
  expect(stream.state, 'open too early').toBe('connecting')
  await clock.advance(200)
  expect(stream.state, 'not open').toBe('open')
}

/** What cannot be joined in time is not open, and leaves nothing with the broker. */
async function leavesNothing({ broker, clock, stream }: Room): Promise<void> {
  const refusals: (string | undefined)[] = []
  stream.onState(({ reason }) => refusals.push(reason))
  await clock.advance(9_000)
  stream.close()
  await clock.advance(60_000)
  expect(refusals.join(), 'no refusal').toContain('503')
  expect(broker.subscribed.size, 'still subscribed').toBe(0)
}

/** What the broker lost stands in the stream as a gap, before what follows it. */
async function saysWhatWasLost({ broker, clock, heard }: Room): Promise<void> {
  await clock.advance(DELAY + 100)
  broker.say('lobby', 'first')
  for (const { status } of broker.subscribed) status('lost')
  broker.say('lobby', 'third')
  await clock.advance(0)
  expect(heard, 'lost in silence').toEqual(['first', 'gap source', 'third'])
}

describe('rooms on a slow broker', () => {
  test('answer when they have joined, and lose nothing that is said right after', async () => {
    await read(dropIn, waitsForTheBroker)
    await read(dropIn, hearsTheFirst)
  })

  test.each([
    ['a source that takes what it asked for to exist', lazy],
    ['a response before the join, as in the shape that they replace', answersFirst],
  ])('with %s, both checks are red', async (_, make) => {
    await expect(read(make, waitsForTheBroker)).rejects.toThrow('open too early')
    await expect(read(make, hearsTheFirst)).rejects.toThrow('lost in silence')
  })

  test('that cannot be joined in time are a 503, and leave nothing behind', async () => {
    await read(dropIn, leavesNothing, 8_000)
    await read(dropIn, leavesNothing, NEVER)
  })

  test('with a wait that is given up and no more, the check is red', async () => {
    await expect(read(forgetsWhatItAsked, leavesNothing, 8_000)).rejects.toThrow('still subscribed')
  })

  test('say what the broker lost', async () => {
    await read(dropIn, saysWhatWasLost)
  })

  test('with a source that says nothing of a loss, the check is red', async () => {
    await expect(read(silentOfLoss, saysWhatWasLost)).rejects.toThrow('lost in silence')
  })
})
