// The process of the server under test.
import { answer, cpu, memory } from '../child.js'
import { microseconds, payloads, stamped } from '../payload.js'
import type { Contender, ServerOptions } from './contender.js'
import { type ContenderName, contenders } from './contenders.js'

let contender: Contender
let cpuBefore = 0
let kernelBefore = 0
let prepared: readonly string[] = []

function missing(what: string): never {
  throw new Error(`this contender has no ${what}`)
}

function sendOne(n: number, bytes: number): unknown {
  return (contender.send ?? missing('send'))(stamped(n, bytes), n)
}

const verbs = {
  async start(name: ContenderName, options: ServerOptions): Promise<number> {
    contender = await contenders[name](options)
    return contender.listen()
  },
  connections: (): number => contender.connections(),
  /** Begins to count CPU. Returns the time. */
  begin(): number {
    cpuBefore = cpu()
    kernelBefore = process.cpuUsage().system
    return microseconds()
  },
  /** The CPU since `begin`, in microseconds. */
  used: (): number => cpu() - cpuBefore,
  /** The part of it that the kernel took. */
  kernel: (): number => process.cpuUsage().system - kernelBefore,
  memory,
  /** Makes the events of `flat`. */
  prepare(count: number, bytes: number): void {
    prepared = payloads(count, bytes)
    // They are to be old when it begins: no library pays for moving them.
    for (let n = 0; n < 3; n++) globalThis.gc?.()
  },
  flat: async (): Promise<void> => (contender.flat ?? missing('flat'))(prepared),
  send: async (n: number, bytes: number): Promise<void> => void (await sendOne(n, bytes)),
  async burst(first: number, count: number, bytes: number): Promise<void> {
    const data = payloads(count, bytes, first)
    if (contender.burst) return void (await contender.burst(data, first))
    await Promise.all(data.map((each, index) => (contender.send ?? missing('send'))(each, first + index)))
  },
  async record(count: number, bytes: number): Promise<void> {
    await (contender.record ?? missing('record'))(payloads(count, bytes))
  },
  /** Sends one event every `everyMs`, and does not wait for anybody. */
  async paced(count: number, bytes: number, everyMs: number, first = 0): Promise<void> {
    const begun = performance.now()
    for (let n = 0; n < count; n++) {
      const wait = begun + n * everyMs - performance.now()
      await new Promise<void>((resolve) => (wait > 1 ? setTimeout(resolve, wait) : setImmediate(resolve)))
      void Promise.resolve(sendOne(first + n, bytes)).catch(() => {})
    }
  },
  facts: (): Record<string, number> => contender.facts?.() ?? {},
  restart: async (awayMs: number, missed: number): Promise<void> =>
    (contender.restart ?? missing('restart'))(awayMs, missed),
}

export type ServerVerbs = typeof verbs

answer(verbs)
