// The part of the benchmarks that is small enough for every run of CI: CPU, as a ratio to Node's own `res.write`.
import { Server, startLoad } from './rig.js'
import { amongOthers, has, Processes, publish } from './scenarios/growth.js'
import { readOrder } from './settings.js'

/** CPU of the server for one event, as a multiple of what `res.write` takes in the same run. */
export interface Ratios {
  readonly flat: number
  readonly fanOut: number
  readonly burst: number
}

const CROWD = 200
const EVENTS = 50_000
/** Of 100 events each: one alone is over in two milliseconds. */
const BURSTS = 8

/**
 * Two servers side by side, until the best that was seen of each is `goodEnough`, or `tries` are over. It is CPU time
 * that is compared, and its minimum: what else the machine does only ever adds to it.
 */
export async function ratios(tries: number, goodEnough: (ratios: Ratios) => boolean): Promise<Ratios> {
  const [settings] = readOrder(['--no-pin']).runs
  if (!settings) throw new Error('no settings')
  await using raw = await Server.start(settings, 'res.write', { heartbeatMs: 0 })
  await using own = await Server.start(settings, 'steady-sse', { heartbeatMs: 0 })
  await using load = startLoad(settings)
  for (const server of [raw, own]) await server.call('prepare', EVENTS, 120)
  const best = new Map<Server, Ratios>()
  const measure = async (server: Server): Promise<Ratios> => {
    const open = async (size: number) => {
      await load.call('open', server.port, size)
      await server.has(size)
    }
    const close = async () => {
      const { disordered } = await load.call('counts')
      if (disordered > 0) throw new Error(`${disordered} events out of order`)
      await load.call('close')
      await server.has(0)
    }
    const cost = async (events: number, run: () => Promise<unknown>) => {
      await server.call('begin')
      await run()
      return (await server.call('used')) / events
    }
    await open(1)
    const flat = await cost(EVENTS, () => Promise.all([load.call('until', EVENTS), server.call('flat')]))
    await close()
    await open(CROWD)
    const fanOut = await cost(50 * CROWD, async () => {
      for (let n = 0; n < 50; n++) {
        await Promise.all([load.call('until', (n + 1) * CROWD), server.call('send', n, 200)])
      }
    })
    const burst = await cost(BURSTS * 100 * CROWD, async () => {
      for (let n = 0; n < BURSTS; n++) {
        const first = 50 + n * 100
        await Promise.all([load.call('until', (first + 100) * CROWD), server.call('burst', first, 100, 200)])
      }
    })
    await close()
    return { flat, fanOut, burst }
  }
  let found: Ratios = {
    flat: Number.POSITIVE_INFINITY,
    fanOut: Number.POSITIVE_INFINITY,
    burst: Number.POSITIVE_INFINITY,
  }
  for (let n = 0; n < tries; n++) {
    for (const server of [raw, own]) {
      const now = await measure(server)
      const before = best.get(server) ?? now
      best.set(server, least(before, now))
    }
    const [base, ours] = [best.get(raw), best.get(own)]
    if (!base || !ours) continue
    found = { flat: ours.flat / base.flat, fanOut: ours.fanOut / base.fanOut, burst: ours.burst / base.burst }
    // The first runs are those of code that is not warm.
    if (n >= 2 && goodEnough(found)) break
  }
  return found
}

const BESIDE = 1_000
const AWAITED = 100_000
/** Enough for a collection of the old generation. */
const TIMES = 4

/** CPU of an awaited event beside 1,000 idle connections, as a multiple of what it takes beside none; as `ratios`. */
export async function besideIdle(tries: number, goodEnough: number): Promise<number> {
  // Held to their cores: only so does a literal's fate come out the same from run to run.
  const [settings] = readOrder([]).runs
  if (!settings) throw new Error('no settings')
  if (settings.maxConnections < BESIDE) throw new Error(`It takes ${BESIDE} connections: raise \`ulimit -n\`.`)
  await using all = new Processes()
  const alone = await amongOthers(settings, { connections: 0, streams: 0 }, all)
  const beside = await amongOthers(settings, { connections: BESIDE, streams: 0 }, all)
  let [base, ours] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let n = 0; n < tries; n++) {
    base = Math.min(base, await publish(alone.server, alone.readers, 'flat', AWAITED, TIMES))
    ours = Math.min(ours, await publish(beside.server, beside.readers, 'flat', AWAITED, TIMES))
    if (n >= 2 && ours <= goodEnough * base) break
  }
  await has(beside.server, beside.open)
  return ours / base
}

function least(one: Ratios, other: Ratios): Ratios {
  return {
    flat: Math.min(one.flat, other.flat),
    fanOut: Math.min(one.fanOut, other.fanOut),
    burst: Math.min(one.burst, other.burst),
  }
}
