// A fast agent and a slow reader, over one POST: the agent waits for its reader, and never for one who has gone.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import type { PublishEvent } from 'steady-sse'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { createHub, type Hub } from 'steady-sse/server'
import { type Fault, simulate, virtualClock } from 'steady-sse/testing'
import { sse } from 'steady-sse/web'

export interface Prompt {
  /** Made by the client, so that to ask again is to read on: the agent runs once. */
  readonly id: string
  readonly text: string
}

/** The server: `POST { id, text }` is answered by the agent, who is at most `maxLead` events ahead of its slowest reader. */
export function answers(hub: Hub, agent: (text: string) => AsyncIterable<PublishEvent>, maxLead: number) {
  const prompts = new WeakMap<Request, Prompt>()
  const running = new Set<string>()

  async function answer(stream: string, text: string) {
    if (running.has(stream)) return
    running.add(stream)
    try {
      const { items } = await hub.read(stream, { limit: 1 })
      if (items.length === 0) await hub.pipe(stream, agent(text), { maxLead })
    } catch (error) {
      console.error(error) // its readers are told by a gap, before the end
    }
    running.delete(stream)
  }

  return sse(hub, {
    from: 'earliest',
    async stream(request: Request) {
      const prompt: Prompt = await request.json()
      prompts.set(request, prompt)
      return `answer:${prompt.id}`
    },
    // Only now, when somebody reads. The agent belongs to the stream and not to this response: it survives its reader.
    onOpen({ stream, request }) {
      void answer(stream, prompts.get(request)?.text ?? '')
    },
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = virtualClock()
  const hub = createHub({ store: memoryStore(), clock, writeTimeoutMs: 30_000 })
  let written = 0
  async function* agent() {
    for (; written < 500; written++) yield { event: 'delta', data: `${written} ${'x'.repeat(1_000)}` }
  }
  // The first response stalls after 100 kB; then the reader comes back.
  const faults = (attempt: number): Fault[] => (attempt === 1 ? [{ kind: 'stalled', afterBytes: 100_000 }] : [])
  const answer = connect('http://agents.test/', {
    ...{ method: 'POST', body: JSON.stringify({ id: '1', text: 'Count to 500' }) },
    ...{ clock, fetch: simulate(answers(hub, agent, 50), { clock, faults }) },
  })
  const read: number[] = []
  const reading = (async () => {
    for await (const item of answer) read.push(item.type === 'event' ? Number.parseInt(item.data, 10) : Number.NaN)
  })()
  await clock.advance(10_000)
  console.log(`the reader stalls after ${read.length}: the agent has written ${written} of 500, and waits`)
  assert(written < read.length + 50 + 100)
  await clock.advance(120_000)
  await reading // its seal ends the loop
  console.log(`the reader came back: it has read ${read.length}, each once`)
  assert.deepEqual(
    read,
    Array.from({ length: 500 }, (_, n) => n),
  )
  await hub.close()
}
