// The two ends of a process that is told what to do: one call at a time, by name.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

/** What a process can be asked for. */
export type Verbs = Record<string, (...given: never[]) => unknown>

interface Call {
  readonly id: number
  readonly verb: string
  readonly given: unknown[]
}

interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

export interface ChildOptions {
  /** The program that runs it. Default: the Node that runs this. */
  readonly node?: string | undefined
  /** The core that it is held to; `undefined`: any. */
  readonly core?: number | undefined
}

const hasTaskset = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0

/** Another process: the server, or the load. */
export class Child<V extends Verbs> implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  readonly #exited: Promise<void>
  #calls = 0

  /** @param file - the module to run, relative to this folder. */
  constructor(file: string, given: readonly string[], options: ChildOptions = {}) {
    const path = fileURLToPath(new URL(file, import.meta.url))
    const tsconfig = fileURLToPath(new URL('tsconfig.json', import.meta.url))
    const node = options.node ?? process.execPath
    const run = [node, '--expose-gc', '--import', 'tsx', path, ...given]
    const pinned = options.core !== undefined && hasTaskset ? ['taskset', '-c', String(options.core), ...run] : run
    const [program = node, ...args] = pinned
    this.#process = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, TSX_TSCONFIG_PATH: tsconfig, NODE_ENV: 'production', NODE_NO_WARNINGS: '1' },
    })
    this.#process.on('message', (message: Answer) => {
      const waiting = this.#waiting.get(message.id)
      this.#waiting.delete(message.id)
      if (message.error !== undefined) waiting?.reject(new Error(`${file} ${given.join(' ')}: ${message.error}`))
      else waiting?.resolve(message.value)
    })
    this.#exited = new Promise((resolve) => {
      this.#process.on('exit', (code, signal) => {
        for (const { reject } of this.#waiting.values())
          reject(new Error(`${file} ${given.join(' ')} is gone (${code ?? signal})`))
        resolve()
      })
    })
  }

  call<K extends keyof V & string>(verb: K, ...given: Parameters<V[K]>): Promise<Awaited<ReturnType<V[K]>>> {
    const id = this.#calls++
    const answered = new Promise<Awaited<ReturnType<V[K]>>>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.#process.send({ id, verb, given } satisfies Call, (error) => {
        if (error && this.#waiting.delete(id)) reject(error)
      })
    })
    // Several calls may be under way when one fails: the first error is the one that counts.
    answered.catch(() => {})
    return answered
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }
}

/** In the child: answers the calls of the parent, and ends with it. */
export function answer(verbs: Verbs): void {
  process.on('message', async ({ id, verb, given }: Call) => {
    try {
      const value = await (verbs[verb] as ((...given: unknown[]) => unknown) | undefined)?.(...given)
      process.send?.({ id, value } satisfies Answer)
    } catch (error) {
      process.send?.({
        id,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies Answer)
    }
  })
  process.on('disconnect', () => process.exit())
}

/** CPU that this process has used, in microseconds. */
export function cpu(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Resident memory after a collection, in bytes. */
export async function memory(): Promise<{ rss: number; heap: number; buffers: number }> {
  for (let n = 0; n < 4; n++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  return { rss, heap: heapUsed, buffers: arrayBuffers }
}
