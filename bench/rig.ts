import { Child } from './child.js'
import type { LoadVerbs } from './load/main.js'
import type { ServerOptions } from './server/contender.js'
import type { ContenderName } from './server/contenders.js'
import type { ServerVerbs } from './server/main.js'
import type { Settings } from './settings.js'
import { type Spread, spread } from './statistics.js'

/** A server under test in its own process. */
export class Server extends Child<ServerVerbs> {
  port = 0

  static async start(settings: Settings, name: ContenderName, options: ServerOptions = {}): Promise<Server> {
    const server = new Server('server/main.ts', [name], { node: settings.node, core: settings.pin ? 0 : undefined })
    server.port = await server.call('start', name, options)
    return server
  }

  /** Waits until it has so many connections. */
  async has(count: number): Promise<void> {
    for (let tries = 0; (await this.call('connections')) !== count; tries++) {
      if (tries > 500) throw new Error(`${await this.call('connections')} connections instead of ${count}`)
      await pause(20)
    }
  }
}

export type Load = Child<LoadVerbs>

export function startLoad(settings: Settings): Load {
  return new Child<LoadVerbs>('load/main.ts', [], { core: settings.pin ? 1 : undefined })
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** What was measured of each contender, a value for each round; and why a contender has none. */
export interface Runs<T> {
  readonly of: ReadonlyMap<string, readonly T[]>
  readonly failed: ReadonlyMap<string, string>
}

/** A B C A B C …: what slows the machine for a while slows all. */
export async function interleaved<T>(
  names: readonly string[],
  rounds: number,
  run: (name: string, round: number) => Promise<T>,
): Promise<Runs<T>> {
  const of = new Map<string, T[]>(names.map((name) => [name, []]))
  const failed = new Map<string, string>()
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      if (failed.has(name)) continue
      try {
        of.get(name)?.push(await run(name, round))
      } catch (error) {
        failed.set(name, error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
        say(`  ${name}: ${error instanceof Error ? error.stack : error}`)
      }
    }
  }
  return { of, failed }
}

/** The spread of one measure of a contender; `undefined` when it has none. */
export function measured<T>(runs: Runs<T>, name: string, measure: (run: T) => number): Spread | undefined {
  const values = runs.of.get(name)?.map(measure)
  return values?.length ? spread(values) : undefined
}

/** The spread of the ratio to another contender, round by round. */
export function ratio<T>(runs: Runs<T>, name: string, to: string, measure: (run: T) => number): Spread | undefined {
  const base = runs.of.get(to)?.map(measure) ?? []
  const values = (runs.of.get(name) ?? []).flatMap((run, round) => {
    const under = base[round]
    return under ? [measure(run) / under] : []
  })
  return values.length ? spread(values) : undefined
}

/** The cells of a row, without those that could not be measured. */
export function cells(given: Record<string, Spread | number | string | undefined>, failure?: string) {
  const known = Object.entries(given).filter(
    (entry): entry is [string, Spread | number | string] => entry[1] !== undefined,
  )
  return { ...Object.fromEntries(known), ...(failure !== undefined && { checked: failure }) }
}

/** One server for each contender, all there from the beginning. */
export class Servers implements AsyncDisposable {
  readonly #servers = new Map<string, Server>()

  static async start(settings: Settings, names: readonly ContenderName[], options: ServerOptions): Promise<Servers> {
    const started = new Servers()
    for (const name of names) started.#servers.set(name, await Server.start(settings, name, options))
    return started
  }

  get(name: string): Server {
    const server = this.#servers.get(name)
    if (!server) throw new Error(`no server for ${name}`)
    return server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#servers.values(), (server) => server[Symbol.asyncDispose]()))
  }
}
