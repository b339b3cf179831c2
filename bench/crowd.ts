/**
 * A crowd of clients of many server processes, on virtual time: what they do is drawn from the library's own formulas,
 * and each has no more than one thing before it, so that a million fit.
 */
import {
  afterEstablished,
  afterFailure,
  afterMaxAge,
  clampRetry,
  ESTABLISHED_MS,
  FIRST_RETRY_MS,
} from '../src/client/backoff.js'
import { drawRetry, retryRange } from '../src/server/hub-options.js'
import { drawAge } from '../src/server/registry.js'

/** How clients wait. */
export type Waiting = 'steady-sse' | 'native EventSource' | 'exponential, no jitter'

/** What becomes of a process, and when. */
export interface Incident {
  readonly atMs: number
  readonly process: number
  readonly is: 'gone' | 'back'
}

export interface CrowdOptions {
  readonly clients: number
  readonly processes: number
  readonly waiting: Waiting
  readonly incidents: readonly Incident[]
  readonly lastsMs: number
  /** How many clients one process can let in, a second. So many may wait in line; the rest is answered 503. */
  readonly joinsPerSecond: number
  /** How many regions there are; a client reaches the processes of its own. */
  readonly regions?: number
  readonly retryMs?: readonly [number, number]
  readonly maxAgeMs?: number
}

export interface CrowdReport {
  /** Attempts in each second. */
  readonly attempts: Float64Array
  /** Of them, those that found nobody, or no room. */
  readonly failed: Float64Array
  /** Live at the end of each second. */
  readonly live: Float64Array
  /** When all were live again after the last incident that took a process away, in milliseconds; -1: never. */
  readonly allLiveMs: number
  /** The most attempts within 100 ms. */
  readonly densest: number
  /** Connections of each process at the end. */
  readonly connections: Int32Array
}

const STEP_MS = 10
const NOBODY = -1

export function simulateCrowd(options: CrowdOptions): CrowdReport {
  return new Simulation(options).run()
}

class Simulation {
  readonly #options: CrowdOptions
  readonly #range: readonly [number, number]
  readonly #steps: number
  readonly #perStep: number
  /** The clients that are due in a step are a list: its first, and for each client the one after and before it. */
  readonly #first: Int32Array
  readonly #after: Int32Array
  readonly #before: Int32Array
  readonly #due: Int32Array
  readonly #server: Int16Array
  readonly #openedAt: Int32Array
  readonly #failures: Uint8Array
  readonly #retryMs: Float64Array
  readonly #isUp: Uint8Array
  readonly #places: Float64Array
  readonly #connections: Int32Array
  readonly #up: number[][]
  readonly #tenths: Float64Array
  readonly #attempts: Float64Array
  readonly #failed: Float64Array
  #live = 0
  #now = 0

  constructor(options: CrowdOptions) {
    const { clients, processes, regions = 1 } = options
    this.#options = options
    this.#range = retryRange(options.retryMs)
    this.#steps = Math.ceil(options.lastsMs / STEP_MS)
    this.#perStep = (options.joinsPerSecond * STEP_MS) / 1_000
    this.#first = new Int32Array(this.#steps).fill(NOBODY)
    this.#after = new Int32Array(clients)
    this.#before = new Int32Array(clients)
    this.#due = new Int32Array(clients).fill(NOBODY)
    this.#server = new Int16Array(clients).fill(NOBODY)
    this.#openedAt = new Int32Array(clients)
    this.#failures = new Uint8Array(clients)
    this.#retryMs = new Float64Array(clients).fill(FIRST_RETRY_MS)
    this.#isUp = new Uint8Array(processes).fill(1)
    this.#places = new Float64Array(processes).fill(options.joinsPerSecond)
    this.#connections = new Int32Array(processes)
    this.#up = Array.from({ length: regions }, () => [])
    this.#tenths = new Float64Array(Math.ceil(options.lastsMs / 100))
    this.#attempts = new Float64Array(Math.ceil(options.lastsMs / 1_000))
    this.#failed = new Float64Array(this.#attempts.length)
  }

  run(): CrowdReport {
    const { clients, processes, incidents, maxAgeMs } = this.#options
    const live = new Float64Array(this.#attempts.length)
    this.#listUp()
    // All have been live for a while, each process has its share, and ages are spread.
    for (let client = 0; client < clients; client++) {
      this.#connect(client, client % processes, maxAgeMs === undefined ? undefined : drawAge(maxAgeMs) * Math.random())
      this.#openedAt[client] = -ESTABLISHED_MS
    }
    const pending = incidents.toSorted((a, b) => a.atMs - b.atMs)
    const lastGone = pending.findLast(({ is }) => is === 'gone')?.atMs ?? 0
    let allLiveMs = -1
    for (let step = 0; step < this.#steps; step++) {
      this.#now = step * STEP_MS
      for (let next = pending[0]; next && next.atMs <= this.#now; next = pending[0]) {
        pending.shift()
        this.#happens(next)
      }
      this.#makeRoom()
      for (let client = this.#first[step] ?? NOBODY; client !== NOBODY; ) {
        const after = this.#after[client] ?? NOBODY
        this.#due[client] = NOBODY
        this.#act(client)
        client = after
      }
      live[Math.floor(this.#now / 1_000)] = this.#live
      if (this.#live < clients) allLiveMs = -1
      else if (allLiveMs < 0 && this.#now >= lastGone) allLiveMs = this.#now - lastGone
    }
    return {
      attempts: this.#attempts,
      failed: this.#failed,
      live,
      allLiveMs,
      densest: this.#tenths.reduce((a, b) => Math.max(a, b), 0),
      connections: this.#connections,
    }
  }

  #makeRoom(): void {
    const { joinsPerSecond } = this.#options
    for (let process = 0; process < this.#places.length; process++) {
      this.#places[process] = Math.min(joinsPerSecond, (this.#places[process] ?? 0) + this.#perStep)
    }
  }

  #happens({ process, is }: Incident): void {
    this.#isUp[process] = is === 'back' ? 1 : 0
    this.#listUp()
    if (is === 'back') return
    for (let client = 0; client < this.#server.length; client++) {
      if (this.#server[client] === process) this.#disconnect(client, false)
    }
  }

  #listUp(): void {
    for (const [region, up] of this.#up.entries()) {
      up.length = 0
      for (let process = region; process < this.#isUp.length; process += this.#up.length) {
        if (this.#isUp[process]) up.push(process)
      }
    }
  }

  /** What was due is due: a live client has reached its age, any other tries. */
  #act(client: number): void {
    if (this.#server[client] !== NOBODY) {
      this.#disconnect(client, true)
      return
    }
    const second = Math.floor(this.#now / 1_000)
    const tenth = Math.floor(this.#now / 100)
    this.#attempts[second] = (this.#attempts[second] ?? 0) + 1
    this.#tenths[tenth] = (this.#tenths[tenth] ?? 0) + 1
    // Processes are dealt to regions in turn, and so were clients to processes.
    const up = this.#up[client % this.#up.length] ?? []
    const process = up[Math.floor(Math.random() * up.length)]
    const places = process === undefined ? 0 : (this.#places[process] ?? 0)
    if (process === undefined || places < 1) {
      this.#failed[second] = (this.#failed[second] ?? 0) + 1
      this.#fails(client)
      return
    }
    this.#places[process] = places - 1
    const { maxAgeMs } = this.#options
    this.#connect(client, process, maxAgeMs === undefined ? undefined : drawAge(maxAgeMs))
  }

  #connect(client: number, process: number, ageMs: number | undefined): void {
    this.#server[client] = process
    this.#connections[process] = (this.#connections[process] ?? 0) + 1
    this.#live++
    this.#openedAt[client] = this.#now
    this.#retryMs[client] = clampRetry(drawRetry(this.#range))
    if (ageMs !== undefined) this.#plan(client, ageMs)
  }

  #disconnect(client: number, maxAge: boolean): void {
    const process = this.#server[client] ?? 0
    this.#connections[process] = (this.#connections[process] ?? 0) - 1
    this.#server[client] = NOBODY
    this.#live--
    this.#forget(client)
    const isOurs = this.#options.waiting === 'steady-sse'
    if (maxAge && isOurs) {
      this.#failures[client] = 0
      this.#plan(client, afterMaxAge(Math.random()))
      return
    }
    if (this.#now - (this.#openedAt[client] ?? 0) < ESTABLISHED_MS) {
      this.#fails(client)
      return
    }
    this.#failures[client] = 0
    this.#plan(client, isOurs ? afterEstablished(this.#retryMs[client] ?? 0, Math.random()) : this.#fixed(0))
  }

  #fails(client: number): void {
    const failures = Math.min(255, (this.#failures[client] ?? 0) + 1)
    this.#failures[client] = failures
    const isOurs = this.#options.waiting === 'steady-sse'
    this.#plan(
      client,
      isOurs ? afterFailure(failures, this.#retryMs[client] ?? 0, Math.random()) : this.#fixed(failures),
    )
  }

  /** How others wait. A native `EventSource` gives up on a 503; here it is one that tries again. */
  #fixed(failures: number): number {
    return this.#options.waiting === 'native EventSource' ? 3_000 : Math.min(30_000, 1_000 * 2 ** failures)
  }

  #plan(client: number, delayMs: number): void {
    const step = Math.max(Math.floor(this.#now / STEP_MS) + 1, Math.ceil((this.#now + delayMs) / STEP_MS))
    if (step >= this.#steps) return
    const first = this.#first[step] ?? NOBODY
    this.#due[client] = step
    this.#after[client] = first
    this.#before[client] = NOBODY
    if (first !== NOBODY) this.#before[first] = client
    this.#first[step] = client
  }

  #forget(client: number): void {
    const step = this.#due[client] ?? NOBODY
    if (step === NOBODY) return
    const after = this.#after[client] ?? NOBODY
    const before = this.#before[client] ?? NOBODY
    if (before === NOBODY) this.#first[step] = after
    else this.#after[before] = after
    if (after !== NOBODY) this.#before[after] = before
    this.#due[client] = NOBODY
  }
}
