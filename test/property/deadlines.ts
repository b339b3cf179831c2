import fc from 'fast-check'
import { connect } from '../../src/client/index.js'
import { SseError } from '../../src/protocol/error.js'
import { DirectServer } from '../../src/server/direct.js'
import { createHub, writeSSE } from '../../src/server/index.js'
import { Receiver } from '../../src/server/receive.js'
import { memoryStore } from '../../src/stores/memory.js'
import { scriptedWritable, type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { ScriptedIncoming } from '../support/incoming.js'
import { openOn, ScriptedSink } from '../support/sink.js'
import { FarStore } from '../support/stores.js'
import { turns } from '../support/turns.js'

/** Something that must be over within `ms`, whatever little progress is made meanwhile. */
export interface Limited {
  /** Begins it. Resolves when it was given up. */
  begin(clock: VirtualClock, ms: number): { over: Promise<unknown>; progress(): unknown; close?(): unknown }
}

/** One write that the peer never takes, and more that are sent after it. */
export const directWrite: Limited = {
  begin(clock, ms) {
    const sink = new ScriptedSink()
    const connection = new DirectServer({ clock, writeTimeoutMs: ms }).open(sink)
    const send = () => connection.send({ data: 'x' }).catch(() => {})
    sink.room = false
    void send()
    const over = new Promise<void>((resolve) => connection.signal.addEventListener('abort', () => resolve()))
    return { over, progress: send }
  },
}

/** The same on a stream, where what is published comes on top. */
export const streamWrite: Limited = {
  begin(clock, ms) {
    const hub = createHub({ store: memoryStore(), clock, writeTimeoutMs: ms, heartbeatMs: 500 })
    const sink = new ScriptedSink()
    const publish = () => hub.publish('s', { data: 'x' })
    const over = new Promise<void>((resolve) => {
      const opened = openOn(hub, 's', { sink, hooks: { onClose: () => resolve() } })
      sink.room = false
      void opened
    })
    return { over, progress: publish, close: () => hub.close() }
  },
}

/** The first of several writes that nobody waited for. */
export const writeOfUser: Limited = {
  begin(clock, ms) {
    const target = scriptedWritable({ clock, script: () => 'never' })
    const write = () => writeSSE(target, { data: 'x' }, { clock, timeoutMs: ms }).catch(() => {})
    return { over: write(), progress: write }
  },
}

/** A join whose store answers each question slowly. */
export const joinOfStream: Limited = {
  begin(clock, ms) {
    const store = new FarStore(memoryStore(), clock)
    store.delayMs = ms * 0.7
    const hub = createHub({ store, clock, joinTimeoutMs: ms })
    const over = hub.subscribe('s', { from: 'earliest' }).catch((error: unknown) => {
      if (!(error instanceof SseError) || error.code !== 'JOIN_TIMEOUT') throw error
    })
    return { over, progress() {}, close: () => hub.close() }
  },
}

/** An attempt whose headers come late, and whose answer does. */
export const attemptOfClient: Limited = {
  begin(clock, ms) {
    let release = () => {}
    let isOver = () => {}
    const over = new Promise<void>((resolve) => {
      isOver = resolve
    })
    const stream = connect('http://test/', {
      clock,
      connectTimeoutMs: ms,
      fallback: 'none',
      headers: () => new Promise<Record<string, string>>((resolve) => (release = () => resolve({}))),
      fetch: () => new Promise(() => {}),
      onState: ({ state }) => state === 'waiting' && isOver(),
    })
    return { over, progress: () => release(), close: () => stream.close() }
  },
}

/** A body that trickles in. */
export const bodyOfMessage: Limited = {
  begin(clock, ms) {
    const receiver = new Receiver(() => undefined, { clock, bodyTimeoutMs: ms })
    let take = (_: Uint8Array) => {}
    class Trickling extends ScriptedIncoming {
      override read(given: (bytes: Uint8Array) => void): Promise<void> {
        take = given
        return new Promise(() => {})
      }
    }
    const over = receiver.answer(undefined, new Trickling('key'))
    return { over, progress: () => take(new Uint8Array(1)) }
  },
}

const plan = fc.record({
  ms: fc.integer({ min: 200, max: 5_000 }),
  /** When there is some progress, as parts of the time. */
  at: fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 8 }),
})

/** A deadline counts from the beginning: no partial progress puts it off. */
export function deadline({ begin }: Limited): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(plan, async ({ ms, at }) => {
    const clock = virtualClock()
    const begun = clock.now()
    let endedAt: number | undefined
    const { over, progress, close } = begin(clock, ms)
    void over.then(() => {
      endedAt = clock.now()
    })
    await turns(2)
    for (const part of at.toSorted((a, b) => a - b)) {
      await clock.advance(begun + (ms * part) / 100 - clock.now())
      progress()
      await turns(2)
    }
    if (endedAt !== undefined) throw new Error(`over after ${endedAt - begun} ms of ${ms}`)
    await clock.advance(begun + ms + 1 - clock.now())
    await turns(2)
    if (endedAt === undefined) throw new Error(`not over after ${ms} ms`)
    const closed = close?.()
    await clock.advance(10_000)
    await closed
    if (clock.pending > 0) throw new Error(`left behind: ${clock.pending} timers`)
  })
}
