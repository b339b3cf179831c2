import { systemClock } from '../protocol/clock.js'
import { diagnose } from './diagnose.js'
import type { Diagnosis } from './diagnosis.js'
import { type ProbeOptions, probe, probeUntil } from './probe.js'
import type { Trace } from './trace.js'

/** How long a stream that is held is watched after its origin has shown enough. */
const HOW_MS = 5_000

export interface Examination {
  readonly trace: Trace
  readonly origin: Trace | undefined
  readonly diagnosis: Diagnosis
}

/** Probes a path and, if named, its origin at the same time, and judges them together. */
export async function examine(
  url: string | URL,
  origin: string | URL | undefined,
  options: ProbeOptions,
): Promise<Examination> {
  if (origin === undefined) {
    const trace = await probe(url, options)
    return { trace, origin: undefined, diagnosis: diagnose(trace) }
  }
  const { clock = systemClock } = options
  const [enoughHere, enoughThere] = [new AbortController(), new AbortController()]
  const timers: (() => void)[] = []
  const later = (ms: number, stop: AbortController) => timers.push(clock.setTimeout(() => stop.abort(), ms))
  const here = probeUntil(url, options, enoughHere.signal).then((trace) => {
    // Whether the origin outlives it shows soon after.
    if (isOver(trace)) later(1_000 + trace.watchedMs / 2, enoughThere)
    return trace
  })
  const there = probeUntil(origin, { ...options, onProgress: undefined }, enoughThere.signal).then((trace) => {
    // What has not come through by then is held; the time goes to seeing how.
    if (trace.stopped === 'settled' && options.watchMs === undefined) later(HOW_MS + trace.watchedMs, enoughHere)
    return trace
  })
  try {
    const [trace, beside] = await Promise.all([here, there])
    return { trace, origin: beside, diagnosis: diagnose(trace, beside) }
  } finally {
    enoughHere.abort()
    enoughThere.abort()
    for (const cancel of timers) cancel()
  }
}

const isOver = ({ stopped }: Trace) => stopped === 'ended' || stopped === 'cut' || stopped === 'failed'
