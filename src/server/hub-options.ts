import { systemClock } from '../protocol/clock.js'
import { bound, duration, oneOf, show } from '../protocol/options.js'
import type { HubOptions } from './hub.js'
import type { From } from './reader.js'

/** A hub's options with their defaults. @throws TypeError for one that is not what it should be. */
export function checkedOptions(options: HubOptions) {
  if (typeof options?.store?.append !== 'function') {
    throw new TypeError(`Expected \`store\` to be an event store such as memoryStore(), got ${show(options?.store)}`)
  }
  if (options.source !== undefined && typeof options.source?.join !== 'function') {
    throw new TypeError(`Expected \`source\` to be an object with a \`join\` method, got ${show(options.source)}`)
  }
  if (options.onUndelivered !== undefined && typeof options.onUndelivered !== 'function') {
    throw new TypeError(`Expected \`onUndelivered\` to be a function, got ${show(options.onUndelivered)}`)
  }
  return {
    store: options.store,
    source: options.source,
    onError: options.onError,
    onUndelivered: options.onUndelivered,
    undeliveredMs: duration('undeliveredMs', options.undeliveredMs, 30_000),
    clock: options.clock ?? systemClock,
    heartbeatMs: duration('heartbeatMs', options.heartbeatMs, 15_000),
    heartbeatAs: oneOf('heartbeatAs', options.heartbeatAs, ['comment', 'event'], 'comment'),
    writeTimeoutMs: duration('writeTimeoutMs', options.writeTimeoutMs, 30_000),
    joinTimeoutMs: duration('joinTimeoutMs', options.joinTimeoutMs, 5_000),
    maxReplay: bound('maxReplay', options.maxReplay, 10_000, 0),
    maxFrameBytes: bound('maxFrameBytes', options.maxFrameBytes, 1024 * 1024, 256),
    maxStreams: bound('maxStreams', options.maxStreams, 10_000),
    maxConnections: bound('maxConnections', options.maxConnections, Number.POSITIVE_INFINITY),
    maxAgeMs: options.maxAgeMs === undefined ? undefined : duration('maxAgeMs', options.maxAgeMs, 0),
    idleMs: duration('idleMs', options.idleMs, 600_000),
    sealedTtlMs: duration('sealedTtlMs', options.sealedTtlMs, 86_400_000),
    retryMs: retryRange(options.retryMs),
    ringBytes: bound('ringBytes', options.ringBytes, 1024 * 1024),
    publishTimeoutMs: duration('publishTimeoutMs', options.publishTimeoutMs, 10_000),
    maxPendingBytes: bound('maxPendingBytes', options.maxPendingBytes, 16 * 1024 * 1024),
    padBytes: bound('padBytes', options.padBytes, 0, 0),
  }
}

/** A range that each connection's `retry` is drawn from. */
export function retryRange(range: readonly [number, number] = [1_000, 5_000]): readonly [number, number] {
  if (!Array.isArray(range) || !(range[0] >= 0) || !(range[1] >= range[0]) || range[1] > 3_600_000) {
    throw new TypeError(
      `Expected \`retryMs\` to be a range of milliseconds like [1000, 5000], got ${JSON.stringify(range)}`,
    )
  }
  return range
}

export function drawRetry([least, most]: readonly [number, number]): number {
  return Math.round(least + Math.random() * (most - least))
}

/** @throws TypeError when `from` is none of the three. */
export function parseFrom(from: string): From {
  if (from === 'now' || from === 'earliest' || /^last:\d{1,9}$/.test(from)) return from as From
  throw new TypeError(`Expected \`from\` to be 'now', 'earliest' or 'last:<n>', got ${show(from)}`)
}
