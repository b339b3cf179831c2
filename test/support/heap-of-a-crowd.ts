/**
 * Measures, in a process of its own, what slow and stalled readers make a hub hold. Prints the most bytes that were held
 * and the bound, as JSON. Needs `--expose-gc`.
 */
import { nextTurn } from '../../src/protocol/clock.js'
import { createHub } from '../../src/server/index.js'
import type { Sink, SinkListener } from '../../src/server/sink.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openOn } from './sink.js'

const MIB = 1024 * 1024
const STREAMS = 4
const CONNECTIONS = 100
const STORE_BYTES = MIB
const RING_BYTES = MIB / 2
const HIGH_WATER = 16 * 1024
const BLOCK = 64 * 1024
/** The page cache (4 MiB), what an event costs beside its data, and what the engine keeps for itself. */
const CONSTANT = 16 * MIB
const PUBLISHED = Number(process.argv[2] ?? 100) * MIB
const DATA = 1_000

/** Holds the bytes it was given until it takes them, as a socket does. */
class HoldingSink implements Sink {
  #held: Uint8Array[] = []
  #bytes = 0
  #listener: SinkListener | undefined

  bind(listener: SinkListener): void {
    this.#listener = listener
  }

  write(bytes: Uint8Array): boolean {
    this.#held.push(bytes)
    this.#bytes += bytes.length
    return this.#bytes < HIGH_WATER
  }

  take(): void {
    this.#held = []
    this.#bytes = 0
    this.#listener?.drained()
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    this.#held = []
    this.#listener?.closed()
  }
}

const { gc } = globalThis as { gc?: () => void }
if (!gc) throw new Error('Run it with --expose-gc.')
const turn = () => new Promise<void>((resolve) => nextTurn(resolve))
const inUse = async () => {
  await turn()
  gc()
  await turn()
  gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const store = memoryStore({ maxBytes: STORE_BYTES, maxEvents: 1e6 })
const hub = createHub({ store, ringBytes: RING_BYTES, writeTimeoutMs: 3_600_000 })
const before = await inUse()
const sinks: HoldingSink[] = []
for (let n = 0; n < CONNECTIONS; n++) {
  const sink = new HoldingSink()
  sinks.push(sink)
  await openOn(hub, `s${n % STREAMS}`, { sink: sink as never })
}
let most = 0
const events = PUBLISHED / DATA
for (let n = 0; n < events; n++) {
  await hub.publish(`s${n % STREAMS}`, { data: String(n).padEnd(DATA, 'x') })
  // Of ten connections one is fast, four are slow, five take nothing ever.
  if (n % 50 === 0) for (let k = 0; k < CONNECTIONS; k += 10) sinks[k]?.take()
  if (n % 500 === 0) for (let k = 0; k < CONNECTIONS; k++) if (k % 10 > 0 && k % 10 < 5) sinks[k]?.take()
  if (n % Math.round(events / 5) === 0) most = Math.max(most, (await inUse()) - before)
}
most = Math.max(most, (await inUse()) - before)
const bound = STREAMS * (STORE_BYTES + RING_BYTES) + CONNECTIONS * (HIGH_WATER + BLOCK) + CONSTANT
console.log(JSON.stringify({ most, bound, published: PUBLISHED }))
await hub.close({ graceMs: 1 })
