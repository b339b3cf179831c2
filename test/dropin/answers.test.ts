import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { answers } from '../../examples/dropin/answers.js'
import { connect } from '../../src/client/index.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { type Fault, type Handler, simulate, type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { turns } from '../support/turns.js'

const COUNT = 2_000
const MAX_LEAD = 50
const WRITE_TIMEOUT = 30_000
const DELTA = 'x'.repeat(1_000)
/** What is on the way: a block of 64 KiB in the server, and what the path had let through when it stalled. */
const ON_THE_WAY = 130

/** A fast agent: writes as fast as it is asked to. */
class Agent {
  runs = 0
  written = 0
  isFree = false

  async *run() {
    this.runs++
    try {
      for (; this.written < COUNT; this.written++) yield { event: 'delta', data: `${this.written} ${DELTA}` }
    } finally {
      this.isFree = true
    }
  }
}

type MakeAnswers = (agent: Agent, clock: VirtualClock) => { serve: Handler; close(): Promise<unknown> }

const dropIn =
  (maxLead: number): MakeAnswers =>
  (agent, clock) => {
    const hub = createHub({ store: memoryStore(), clock, writeTimeoutMs: WRITE_TIMEOUT })
    return { serve: answers(hub, () => agent.run(), maxLead), close: () => hub.close() }
  }

const frame = ({ event, data }: { event: string; data: string }) =>
  new TextEncoder().encode(`event: ${event}\ndata: ${data}\n\n`)

/** As it was: the agent runs in the request, and each event is written before the next is asked for, by `write`. */
const inTheRequest =
  (
    write: (to: WritableStreamDefaultWriter<Uint8Array>, bytes: Uint8Array, clock: VirtualClock) => Promise<void>,
  ): MakeAnswers =>
  (agent, clock) => ({
    serve() {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      const writer = writable.getWriter()
      const pump = async () => {
        for await (const event of agent.run()) await write(writer, frame(event), clock)
        await writer.close()
      }
      pump().catch(() => {})
      return new Response(readable, { headers: { 'content-type': 'text/event-stream' } })
    },
    async close() {},
  })

/** Never looks whether there is room. */
const unAwaited = inTheRequest(async (writer, bytes) => {
  writer.write(bytes).catch(() => {})
})

/** Waits for room or for the deadline, and hears of nothing else. */
const drainOrTimeout = inTheRequest(async (writer, bytes, clock) => {
  const written = writer.write(bytes)
  await new Promise<void>((resolve, reject) => {
    written.then(resolve, () => {})
    clock.setTimeout(() => reject(new Error('write timeout')), WRITE_TIMEOUT)
  })
})

interface Asked {
  readonly agent: Agent
  readonly clock: VirtualClock
  readonly answer: ReturnType<typeof connect>
  readonly read: number[]
  /** Asks again, for the same answer. */
  again(): ReturnType<typeof connect>
}

/** One prompt, over a path with faults. */
async function ask(
  make: MakeAnswers,
  faults: (attempt: number) => Fault[],
  check: (asked: Asked) => Promise<void>,
): Promise<void> {
  const clock = virtualClock()
  const agent = new Agent()
  const { serve, close } = make(agent, clock)
  const fetch = simulate(serve, { clock, faults })
  const open = () => {
    const body = JSON.stringify({ id: '1', text: 'Count.' })
    return connect('http://agents.test/', { method: 'POST', body, clock, fetch })
  }
  const answer = open()
  const read: number[] = []
  const reading = (async () => {
    for await (const item of answer) read.push(item.type === 'event' ? Number.parseInt(item.data, 10) : Number.NaN)
  })()
  try {
    await check({ agent, clock, answer, read, again: open })
  } finally {
    answer.close()
    await reading
    await close()
  }
}

const stalls = (attempt: number): Fault[] => (attempt === 1 ? [{ kind: 'stalled', afterBytes: 100_000 }] : [])
const everything = Array.from({ length: COUNT }, (_, n) => n)

/** An agent whose reader takes nothing is not asked for more than a few events ahead of it. */
async function waitsForItsReader({ agent, clock, read }: Asked): Promise<void> {
  await clock.advance(WRITE_TIMEOUT / 2)
  await turns(50)
  expect(read.length, 'nothing was read').toBeGreaterThan(0)
  expect(agent.written - read.length, 'far ahead').toBeLessThanOrEqual(MAX_LEAD + ON_THE_WAY)
}

/** A reader that comes back reads on where it was: the agent has run once, and all arrives once. */
async function readsItAll({ agent, clock, answer, read }: Asked): Promise<void> {
  await clock.advance(1_000_000)
  expect(agent.runs, 'the agent ran again').toBe(1)
  expect(read, 'not each once').toEqual(everything)
  expect(answer.state).toBe('closed')
}

/** When its reader has gone, the agent goes on at once, and its answer is there for who asks later. */
async function outlivesItsReader({ agent, clock, answer, again }: Asked): Promise<void> {
  await clock.advance(1_000)
  expect(agent.isFree, 'it never waited').toBe(false)
  answer.close()
  await clock.advance(0)
  await turns(500)
  expect(agent.isFree, 'held by a reader who has gone').toBe(true)
  const later: number[] = []
  const reading = (async () => {
    for await (const item of again()) if (item.type === 'event') later.push(Number.parseInt(item.data, 10))
  })()
  await clock.advance(1_000)
  await reading
  expect(later, 'not all of it was kept').toEqual(everything)
  expect(agent.runs).toBe(1)
}

// An agent that is under way when its hub closes is reported, and here that is how most checks end.
beforeEach(() => {
  vi.spyOn(console, 'error').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
})

describe('a fast agent and a slow reader', () => {
  test('the agent waits for its reader, who gets all of it once', async () => {
    await ask(dropIn(MAX_LEAD), stalls, waitsForItsReader)
    await ask(dropIn(MAX_LEAD), stalls, readsItAll)
  })

  test('without the bound of its lead, the check is red', async () => {
    await expect(ask(dropIn(Number.POSITIVE_INFINITY), stalls, waitsForItsReader)).rejects.toThrow('far ahead')
  })

  test('with writes that nobody waits for, as in the shape that it replaces, the check is red', async () => {
    await expect(ask(unAwaited, stalls, waitsForItsReader)).rejects.toThrow('far ahead')
  })

  test('the agent goes on at once when its reader has gone, and its answer is kept', async () => {
    await ask(dropIn(MAX_LEAD), stalls, outlivesItsReader)
  })

  test('with a wait for drain or deadline, as in the shape that it replaces, the check is red', async () => {
    await expect(ask(drainOrTimeout, stalls, outlivesItsReader)).rejects.toThrow('held by a reader who has gone')
  })

  test('with an agent per request, to come back is to begin anew: the check is red', async () => {
    await expect(ask(drainOrTimeout, stalls, readsItAll)).rejects.toThrow('the agent ran again')
  })
})
