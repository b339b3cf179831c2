import fc from 'fast-check'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'

/** What sends messages: each `send` ends as accepted, or as something else; none disappears. */
export interface Sending {
  send(text: string): Promise<unknown>
  close(): unknown
}

/** @param post - one request: resolves when the server has it, rejects when it failed. */
export type MakeSending = (parts: { post: (text: string) => Promise<void>; clock: VirtualClock }) => Sending

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('send' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(5_000) }) },
)
/** How long each request takes, and whether it fails. */
const answer = fc.record({ ms: fc.nat(500), fails: fc.boolean() })

/** Whatever fails, and whenever something is sent: the server first accepts in the order of sending, and all of it. */
export function order(make: MakeSending): fc.IAsyncProperty<unknown> {
  const answers = fc.array(answer, { maxLength: 12 })
  return fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), answers, async (steps, all) => {
    const clock = virtualClock()
    const accepted: string[] = []
    let requests = 0
    const sending = make({
      clock,
      async post(text) {
        const { ms, fails } = all[requests++] ?? { ms: 0, fails: false }
        await new Promise<void>((resolve) => clock.setTimeout(resolve, ms))
        if (fails) throw new Error('404')
        if (!accepted.includes(text)) accepted.push(text)
      },
    })
    const sent: string[] = []
    let open = 0
    const count = () => {
      open--
    }
    for (const one of steps) {
      if (one.kind === 'wait') await clock.advance(one.ms)
      else
        for (let n = 0; n < one.count; n++) {
          sent.push(`m${sent.length + 1}`)
          open++
          sending.send(sent.at(-1) ?? '').then(count, count)
        }
    }
    await clock.advance(600_000)
    sending.close()
    await clock.advance(0)
    if (accepted.join() !== sent.join())
      throw new Error(`out of order: sent ${sent.join()}, accepted ${accepted.join()}`)
    if (open > 0 || clock.pending > 0) throw new Error(`left behind: ${open} sends, ${clock.pending} timers`)
  })
}
