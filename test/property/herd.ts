import fc from 'fast-check'
import { connect } from '../../src/client/index.js'
import type { Clock } from '../../src/protocol/clock.js'
import { encodeReady } from '../../src/protocol/control.js'
import { encodeEvent } from '../../src/protocol/encode.js'
import { drawRetry, retryRange } from '../../src/server/hub-options.js'
import { HeapClock } from '../support/heap-clock.js'
import { seeded } from './runs.js'

/** Begins to read, and comes back for ever. Returns what ends it. */
export type MakeReader = (options: { fetch: typeof fetch; clock: Clock }) => () => void

export const ourReader: MakeReader = (options) => {
  const stream = connect('http://test/', options)
  void (async () => {
    for await (const _ of stream);
  })()
  return () => stream.close()
}

/** What 10,000 clients may do to a server that was restarted. */
export interface Bounds {
  /** How long the server is away. */
  readonly awayMs: number
  /** The most attempts in any 100 ms, and in any second, as parts of all that there are from the restart on. */
  readonly tenth: number
  readonly second: number
  /** The most that come back in any second, as a part of the crowd. */
  readonly backSecond: number
  /** When all are live again, counted from when the server is back. */
  readonly liveMs: number
}

const HEADERS = new Headers({ 'content-type': 'text/event-stream' })
const encoder = new TextEncoder()
const event = encodeEvent({ data: 'x', id: 'e.1.1' })

/** One restart: the clients are live, the server goes, and they come back spread out. */
export function herd(make: MakeReader, bounds: Bounds, crowd = 10_000): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(fc.nat(), (seed) =>
    seeded(seed, async () => {
      const clock = new HeapClock()
      const range = retryRange()
      const open = new Set<LightBody>()
      const times: number[] = []
      let isUp = true
      let begun = Number.POSITIVE_INFINITY
      const fetch = async (_: unknown, init?: RequestInit) => {
        if (clock.now() >= begun) times.push(clock.now() - begun)
        if (!isUp) throw new TypeError('fetch failed')
        const cursor = new Headers(init?.headers).get('last-event-id') ?? undefined
        const ready = { connection: 'c', resumed: cursor ? 'ok' : 'new', heartbeatMs: 15_000, time: 0 } as const
        const body = new LightBody(encoder.encode(encodeReady(ready, drawRetry(range), cursor) + event), open)
        return { status: 200, headers: HEADERS, body: { getReader: () => body } } as unknown as Response
      }
      const closes = Array.from({ length: crowd }, () => make({ fetch, clock }))
      await clock.advance(100)
      if (open.size !== crowd) throw new Error(`only ${open.size} are live before the restart`)
      isUp = false
      begun = clock.now()
      for (const body of [...open]) body.cut()
      await clock.advance(bounds.awayMs)
      isUp = true
      let liveMs = 0
      for (; open.size < crowd && liveMs < 120_000; liveMs += 100) await clock.advance(100)
      for (const close of closes) close()
      await clock.advance(0)
      if (liveMs > bounds.liveMs) throw new Error(`not all are live after ${bounds.liveMs} ms (${liveMs})`)
      const back = times.filter((time) => time >= bounds.awayMs)
      check('the attempts within 100 ms', densest(times, 100), bounds.tenth)
      check('the attempts within a second', densest(times, 1_000), bounds.second)
      check('those that came back within a second', densest(back, 1_000), bounds.backSecond)
      if (clock.pending > 0 || open.size > 0)
        throw new Error(`left behind: ${clock.pending} timers, ${open.size} bodies`)
    }),
  )
}

function check(what: string, part: number, most: number): void {
  if (part > most) throw new Error(`${(100 * part).toFixed(1)} % of ${what}, more than ${100 * most} %`)
}

/** One open response, as light as 10,000 of them have to be. */
class LightBody {
  #first: Uint8Array | undefined
  #settle: ((how: () => never) => void) | undefined
  readonly #open: Set<LightBody>

  constructor(first: Uint8Array, open: Set<LightBody>) {
    this.#first = first
    this.#open = open
    open.add(this)
  }

  async read(): Promise<{ done: boolean; value?: Uint8Array }> {
    const value = this.#first
    this.#first = undefined
    if (value) return { done: false, value }
    const how = await new Promise<() => never>((resolve) => {
      this.#settle = resolve
    })
    return how()
  }

  async cancel(): Promise<void> {
    this.#open.delete(this)
  }

  cut(): void {
    this.#open.delete(this)
    this.#settle?.(() => {
      throw new TypeError('terminated')
    })
  }
}

/** The most that fall into one window, as a part of all. */
function densest(times: readonly number[], windowMs: number): number {
  const sorted = times.toSorted((a, b) => a - b)
  let most = 0
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while ((sorted[to] ?? 0) - (sorted[from] ?? 0) >= windowMs) from++
    most = Math.max(most, to - from + 1)
  }
  return most / Math.max(1, sorted.length)
}

export const AT_ONCE: Bounds = { awayMs: 0, tenth: 0.035, second: 0.3, backSecond: 0.3, liveMs: 6_000 }
export const AFTER_TEN: Bounds = { awayMs: 10_000, tenth: 0.035, second: 0.2, backSecond: 0.25, liveMs: 40_000 }
