// The process of the load: a crowd of raw readers.
import { answer, cpu, memory } from '../child.js'
import { Histogram } from '../statistics.js'
import type { Return } from './attempts.js'
import { type Arrived, Crowd, type CrowdOptions } from './crowd.js'
import { Herd, type Policy } from './storm.js'

let crowd: Crowd
let herd: Herd
let cpuBefore = 0

const verbs = {
  async open(port: number, count: number, options: CrowdOptions = {}): Promise<void> {
    crowd = new Crowd(port, options)
    await crowd.open(count)
  },
  more: (count: number): Promise<void> => crowd.open(count),
  until: (events: number, limitMs?: number): Promise<Arrived> => crowd.until(events, limitMs),
  counts: () => crowd.counts(),
  reset: (): void => crowd.reset(),
  stall: (nth: number): number => crowd.stall(nth),
  drip: (nth: number, everyMs: number): void => crowd.drip(nth, everyMs),
  latency: () => {
    const { latency } = crowd
    return { p50: latency.percentile(0.5), p99: latency.percentile(0.99), max: latency.max, count: latency.count }
  },
  forgetLatency(): void {
    crowd.latency = new Histogram()
  },
  close: (): Promise<void> => crowd.close(),
  memory,
  /** Begins to count the CPU of the load. */
  begin(): void {
    cpuBefore = cpu()
  },
  used: (): number => cpu() - cpuBefore,
  /** Connects and leaves, so many times, so many at once. */
  async churn(port: number, rounds: number, together: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const comers = new Crowd(port, {})
      await comers.open(together)
      await comers.close()
    }
  },
  async openHerd(port: number, count: number, policy: Policy): Promise<void> {
    herd = new Herd(port, count, policy)
    await herd.open()
  },
  herdUntil: (events: number): Promise<void> => herd.until(events, 20_000),
  herdBack: (missed: number): Promise<Return> => herd.back(missed),
}

export type LoadVerbs = typeof verbs

answer(verbs)
