import { EventEmitter } from 'node:events'
import { createClient } from '@redis/client'
import { nextTurn } from '../../src/protocol/clock.js'
import type { PublishEvent } from '../../src/protocol/event.js'
import type { Source } from '../../src/protocol/source.js'
import { type SourceHarness, virtualClock } from '../../src/testing/index.js'

type To = Parameters<Source['join']>[1]

/** A bus inside the process. */
export function emitterHarness(): SourceHarness {
  const bus = new EventEmitter().setMaxListeners(0)
  return {
    source: {
      async join(stream, to) {
        const listener = (event: PublishEvent) => to.event(event).catch(() => {})
        bus.on(stream, listener)
        return () => void bus.off(stream, listener)
      },
    },
    emit: (stream, event) => void bus.emit(stream, event),
    subscriptions: () => listenersOf(bus),
    close: () => void bus.removeAllListeners(),
  }
}

/** What is wrong with a source. */
export type SourceDefect =
  | 'joins lazily'
  | 'ignores the abort'
  | 'leaves for all'
  | 'reverses bursts'
  | 'keeps silent about losses'

/** A bus with a connection that can break, and one defect. */
export function brokenHarness(defect?: SourceDefect): SourceHarness {
  const bus = new EventEmitter().setMaxListeners(0)
  const connection = new EventEmitter().setMaxListeners(0)
  const clock = virtualClock()
  let isBroken = false
  let burst: (() => void)[] = []
  const deliver = (run: () => void) => {
    if (defect !== 'reverses bursts') return run()
    if (burst.length === 0) {
      nextTurn(() => {
        for (const each of burst.reverse()) each()
        burst = []
      })
    }
    burst.push(run)
  }
  const join = async (stream: string, to: To, signal: AbortSignal) => {
    const listener = (event: PublishEvent) => deliver(() => void to.event(event).catch(() => {}))
    const lost = () => to.lost()
    const subscribe = () => {
      bus.on(stream, listener)
      if (defect !== 'keeps silent about losses') connection.on('break', lost)
    }
    const leave = () => {
      if (defect === 'leaves for all') bus.removeAllListeners(stream)
      bus.off(stream, listener)
      connection.off('break', lost)
    }
    if (defect === 'joins lazily') nextTurn(subscribe)
    else subscribe()
    await new Promise<void>((resolve) => queueMicrotask(resolve))
    if (!signal.aborted) return leave
    if (defect === 'ignores the abort') return () => {}
    leave()
    throw signal.reason
  }
  return {
    source: { join },
    emit: (stream, event) => void (isBroken || bus.emit(stream, event)),
    drop: async () => {
      isBroken = true
      connection.emit('break')
      return () => {
        isBroken = false
      }
    },
    subscriptions: () => listenersOf(bus),
    clock,
    advance: (ms) => clock.advance(ms),
    close: () => void bus.removeAllListeners(),
  }
}

function listenersOf(bus: EventEmitter): number {
  return bus.eventNames().reduce((sum, name) => sum + bus.listenerCount(name), 0)
}

export const redisUrl = process.env.STEADY_REDIS_URL ?? 'redis://127.0.0.1:6379'

/** Whether a Redis answers there. */
export async function redisAnswers(): Promise<boolean> {
  const client = createClient({ url: redisUrl, socket: { connectTimeout: 1_000, reconnectStrategy: false } })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.close()
    return true
  } catch {
    return false
  }
}

/** Redis pub/sub. It keeps nothing: while its connection is broken, events are lost. */
export async function redisHarness(): Promise<SourceHarness> {
  const publisher = await createClient({ url: redisUrl }).connect()
  const subscriber = createClient({ url: redisUrl, socket: { reconnectStrategy: 5 } })
  subscriber.on('error', () => {}).setMaxListeners(0)
  await subscriber.connect()
  const channels = new Set<string>()
  const source: Source = {
    async join(stream, to, signal) {
      const listener = (message: string) => to.event(JSON.parse(message)).catch(() => {})
      const lost = () => to.lost()
      const leave = async () => {
        subscriber.off('reconnecting', lost)
        await subscriber.unsubscribe(stream, listener)
      }
      subscriber.on('reconnecting', lost)
      channels.add(stream)
      await subscriber.subscribe(stream, listener)
      if (!signal.aborted) return leave
      await leave()
      throw signal.reason
    },
  }
  return {
    source,
    async emit(stream, event) {
      await publisher.publish(stream, JSON.stringify(event))
    },
    async drop() {
      const id = await subscriber.sendCommand<number>(['CLIENT', 'ID'])
      const isBroken = new Promise((resolve) => subscriber.once('reconnecting', resolve))
      const isBack = new Promise((resolve) => subscriber.once('ready', resolve))
      await publisher.sendCommand(['CLIENT', 'KILL', 'ID', String(id)])
      await isBroken
      return async () => {
        await isBack
        // Answered in its turn: by then it has subscribed again.
        await subscriber.sendCommand(['PING'])
      }
    },
    async subscriptions() {
      const counts = await publisher.sendCommand<(string | number)[]>(['PUBSUB', 'NUMSUB', ...channels])
      return counts.reduce<number>((sum, count) => sum + (typeof count === 'number' ? count : 0), 0)
    },
    async close() {
      subscriber.destroy()
      await publisher.close()
    },
  }
}
