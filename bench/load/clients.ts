// Many clients of this package in one process, as applications have them, while their server restarts.
import { connect } from 'steady-sse/client'
import { answer, cpu } from '../child.js'
import { DIGITS, microseconds } from '../payload.js'
import { type Return, ReturnLog } from './attempts.js'

const log = new ReturnLog()
let size = 0
let live = 0
let liveAt = 0
let seen = 0
let cpuBefore = 0

async function follow(url: string): Promise<void> {
  let isLive = false
  let due: number | undefined
  let next = 0
  const stream = connect(url, {
    async fetch(input, init) {
      const madeAt = microseconds()
      log.attempt(due)
      const response = await fetch(input, init)
      log.head(madeAt)
      return response
    },
    onState({ state, delayMs = 0 }) {
      if (state === 'open' && !isLive) {
        isLive = true
        live++
        liveAt = microseconds()
      }
      if (state !== 'waiting') return
      due = microseconds() + 1_000 * delayMs
      if (!isLive) return
      isLive = false
      live--
      log.cut()
    },
  })
  for await (const item of stream) {
    if (item.type === 'gap') log.gaps++
    else {
      const number = Number(item.data.slice(1, 1 + DIGITS))
      seen++
      log.event(number === next)
      next = number + 1
    }
  }
}

const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 2))

const verbs = {
  async open(port: number, count: number): Promise<void> {
    size = count
    for (let begun = 0; begun < count; ) {
      for (; begun < count && begun - live < 100; begun++) void follow(`http://127.0.0.1:${port}/`)
      await tick()
    }
    while (live < count) await tick()
  },
  /** Resolves when all have had so many events. */
  async until(each: number): Promise<void> {
    const end = performance.now() + 20_000
    while (seen < size * each && performance.now() < end) await tick()
  },
  begin(): void {
    cpuBefore = cpu()
  },
  used: (): number => cpu() - cpuBefore,
  /** As `herdBack`. */
  async back(missed: number): Promise<Return> {
    while (!log.begun || live < size) await tick()
    const at = liveAt
    await verbs.until(missed + 1)
    return log.report(at)
  },
}

export type ClientsVerbs = typeof verbs

answer(verbs)
