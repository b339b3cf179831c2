import fc from 'fast-check'
import { SseError } from '../../src/protocol/error.js'
import { writeSSE } from '../../src/server/index.js'
import {
  type ScriptedWritable,
  scriptedWritable,
  type VirtualClock,
  virtualClock,
  type WriteScript,
} from '../../src/testing/index.js'

/** Writes one frame, and waits until there is room again. */
export type Write = (
  target: ScriptedWritable,
  frame: string,
  options: { timeoutMs: number; clock: VirtualClock; signal: AbortSignal },
) => Promise<void>

export const ourWrite: Write = (target, frame, options) => writeSSE(target, frame, options)

/** How a write ended, and when. */
interface Ending {
  readonly how: 'room' | 'CLOSED' | 'WRITE_TIMEOUT' | 'aborted'
  readonly at: number
}

// No two things happen in the same millisecond, so that it is always clear which came first.
const drainMs = fc.integer({ min: 1, max: 300 }).map((n) => n * 10)
const script: fc.Arbitrary<WriteScript> = fc.oneof(
  { weight: 4, arbitrary: fc.constant('take' as const) },
  { weight: 6, arbitrary: drainMs.map((ms) => ({ drainMs: ms })) },
  { weight: 1, arbitrary: fc.constantFrom('never' as const, 'close' as const) },
)
const plan = fc.record({
  scripts: fc.array(script, { minLength: 1, maxLength: 20 }),
  timeoutMs: fc.integer({ min: 1, max: 250 }).map((n) => n * 10 + 7),
  leavesAt: fc.option(
    fc.integer({ min: 0, max: 800 }).map((n) => n * 10 + 3),
    { nil: undefined },
  ),
  abortsAt: fc.option(
    fc.integer({ min: 0, max: 800 }).map((n) => n * 10 + 5),
    { nil: undefined },
  ),
})

/**
 * Whatever a target does, each write ends when the first of these comes: room, the target's close, the abort, the
 * deadline. And whenever no write is under way, no timer and no listener is left.
 */
export function writes(write: Write): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(plan, async ({ scripts, timeoutMs, leavesAt = Infinity, abortsAt = Infinity }) => {
    const clock = virtualClock()
    const begun = clock.now()
    // The drains of the target run on a clock of their own, so that what is left on the other is the writer's.
    const network = virtualClock()
    const target = scriptedWritable({ clock: network, script: (n) => scripts[n - 1] ?? 'take' })
    const aborter = new AbortController()
    const advance = async (ms: number) => {
      await network.advance(ms)
      await clock.advance(ms)
    }
    let now = 0
    for (const [index, what] of scripts.entries()) {
      const expected = endingOf(what, now, { timeoutMs, leavesAt, abortsAt })
      let got: Ending | undefined
      const settle = (how: Ending['how']) => {
        got = { how, at: clock.now() - begun }
      }
      write(target, `data: ${index}\n\n`, { timeoutMs, clock, signal: aborter.signal }).then(
        () => settle('room'),
        (error: unknown) => settle(error instanceof SseError ? (error.code as Ending['how']) : 'aborted'),
      )
      await advance(0)
      for (; !got && now < expected.at + 20; now++) {
        // One millisecond at a time, each clock in its turn: what happens is noted when it happens.
        await advance(1)
        if (now + 1 === leavesAt) target.destroy()
        if (now + 1 === abortsAt) aborter.abort(new Error('aborted'))
        await advance(0)
      }
      const wrote = `write ${index + 1} (${JSON.stringify(what)})`
      if (got?.how !== expected.how || Math.abs(got.at - expected.at) > 1) {
        throw new Error(`${wrote} ended as ${JSON.stringify(got)}, not as ${JSON.stringify(expected)}`)
      }
      if (clock.pending > 0) throw new Error(`${wrote} left ${clock.pending} timers behind`)
      if (target.listeners > 0) throw new Error(`${wrote} left ${target.listeners} listeners behind`)
      if (expected.how === 'WRITE_TIMEOUT' && !target.destroyed) throw new Error(`${wrote} left a dead target open`)
      if (expected.how !== 'room') return
    }
  })
}

function endingOf(
  what: WriteScript,
  now: number,
  { timeoutMs, leavesAt, abortsAt }: { timeoutMs: number; leavesAt: number; abortsAt: number },
): Ending {
  if (abortsAt <= now) return { how: 'aborted', at: now }
  if (leavesAt <= now || what === 'close') return { how: 'CLOSED', at: now }
  if (what === 'take') return { how: 'room', at: now }
  const all: Ending[] = [
    { how: 'room', at: what === 'never' ? Infinity : now + what.drainMs },
    { how: 'CLOSED', at: leavesAt },
    { how: 'WRITE_TIMEOUT', at: now + timeoutMs },
    { how: 'aborted', at: abortsAt },
  ]
  return all.reduce((first, other) => (other.at < first.at ? other : first))
}
