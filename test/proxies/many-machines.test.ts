import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { beforeEach, describe, expect, test } from 'vitest'
import { connect } from '../../src/client/index.js'
import type { EventStore } from '../../src/protocol/store.js'
import { createHub } from '../../src/server/index.js'
import { PostgresWorld, postgresAnswers, postgresUrl } from '../stores/postgres-world.js'
import { nodeRedis, RedisWorld } from '../stores/redis-world.js'
import { turns, until } from '../support/turns.js'
import { redisAnswers, redisUrl } from '../testing/sources.js'
import { nginx } from './kinds.js'
import type { Order } from './machine.js'
import { skipWithout, startProxy } from './proxy.js'

const CLIENTS = 200
const STREAMS = ['/a', '/b', '/c', '/d']
const EVENTS = 240

/** A place for streams that several processes share, and this one's own look at it. */
interface Place extends AsyncDisposable {
  readonly args: readonly string[]
  readonly store: EventStore
}

beforeEach((context) => skipWithout(nginx, context))

// That they are there at all is asserted where the stores are tested.
const present = { Redis: await redisAnswers(), PostgreSQL: await postgresAnswers() }

describe.each([
  ['Redis', redisPlace],
  ['PostgreSQL', postgresPlace],
] as const)('three processes on one %s, behind a round robin, killed in turn', (name, begin) => {
  test.skipIf(!present[name])(
    'every client handles every event, in order, once, and no gap is announced where nothing is missing',
    {
      timeout: 150_000,
    },
    async () => {
      await using place = await begin()
      const machines = await Promise.all([1, 2, 3].map(() => Machine.start(place.args)))
      const [first, second, third] = machines.map(({ port }) => port)
      await using balancer = await startProxy(nginx, 'three', { first, second, third })

      const handled = Array.from({ length: CLIENTS }, () => [] as string[])
      const streams = handled.map((items, n) => {
        const stream = connect(balancer.url + STREAMS[n % STREAMS.length], { from: 'earliest' })
        void (async () => {
          for await (const item of stream) items.push(item.type === 'gap' ? `gap ${item.reason}` : item.data)
        })()
        return stream
      })
      await Promise.all(streams.map(({ ready }) => ready))

      // One process after another dies, twice, while all are publishing.
      let published = 0
      const publishing = Promise.all(
        STREAMS.map(async (stream, s) => {
          for (let n = 0; n < EVENTS; n++) {
            const data = `${stream} ${n}`
            // Whoever dies over it is followed by another; what was stored by then is known by its key.
            for (let by = s + n; !(await machines[by % 3]?.publish(stream, data)); by++) await turns(50)
            published++
          }
        }),
      )
      for (const [round, victim] of [...machines, ...machines].entries()) {
        await until(() => published >= ((round + 1) * STREAMS.length * EVENTS) / 8)
        await victim.killAndRestart()
      }
      await publishing

      await using hub = createHub({ store: place.store })
      for (const [s, stream] of STREAMS.entries()) {
        const { items } = await hub.read(stream, { limit: 10_000 })
        const log = items.map((item) => (item.type === 'event' ? item.data : 'gap'))
        expect(new Set(log).size).toBe(EVENTS)
        expect(log).toHaveLength(EVENTS)
        for (let n = s; n < CLIENTS; n += STREAMS.length) {
          await until(() => (handled[n]?.length ?? 0) >= log.length)
          expect(handled[n], `client ${n}`).toEqual(log)
        }
      }
      for (const stream of streams) stream.close()
      await Promise.all(machines.map((machine) => machine.stop()))
    },
  )
})

/** A process that may die at any moment, and comes back at the same port. */
class Machine {
  readonly port: number
  readonly #args: readonly string[]
  readonly #waiting = new Map<number, (stored: boolean) => void>()
  #child: ChildProcess
  #orders = 0

  static async start(args: readonly string[]): Promise<Machine> {
    const { child, port } = await begin(args, 0)
    return new Machine(args, child, port)
  }

  constructor(args: readonly string[], child: ChildProcess, port: number) {
    this.#args = args
    this.#child = child
    this.port = port
    this.#listen()
  }

  /** Returns whether it is known to be stored. */
  publish(stream: string, data: string): Promise<boolean> {
    if (!this.#child.connected) return Promise.resolve(false)
    const order: Order = { id: ++this.#orders, stream, data }
    return new Promise((resolve) => {
      this.#waiting.set(order.id, resolve)
      this.#child.send(order, (error) => error && this.#answer(order.id, false))
    })
  }

  async killAndRestart(): Promise<void> {
    await this.stop()
    this.#child = (await begin(this.#args, this.port)).child
    this.#listen()
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
    for (const id of [...this.#waiting.keys()]) this.#answer(id, false)
  }

  #listen(): void {
    this.#child.on('message', ({ id, error }: { id: number; error?: string }) => {
      if (error !== undefined) console.log(`publish: ${error}`)
      this.#answer(id, error === undefined)
    })
  }

  #answer(id: number, stored: boolean): void {
    this.#waiting.get(id)?.(stored)
    this.#waiting.delete(id)
  }
}

async function begin(args: readonly string[], port: number): Promise<{ child: ChildProcess; port: number }> {
  const child = fork('test/proxies/machine.ts', [...args, String(port)], { execArgv: ['--import', 'tsx'] })
  const [{ port: bound }] = (await once(child, 'message')) as [{ port: number }]
  return { child, port: bound }
}

async function redisPlace(): Promise<Place> {
  const world = await RedisWorld.begin(nodeRedis)
  return {
    args: ['redis', redisUrl, world.prefix],
    store: await world.store(),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}

async function postgresPlace(): Promise<Place> {
  const world = await PostgresWorld.begin()
  return {
    args: ['postgres', postgresUrl, world.schema],
    store: world.open().store,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}
