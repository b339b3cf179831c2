import { named } from '../protocol/options.js'
import { bodyOf } from './outbox-body.js'
import { readKey } from './outbox-key.js'
import type { Message, MessageParts } from './outbox-message.js'

/** Writes a message as it is stored. */
export function writeRecord({ type, item: { key, lane, body, enqueuedAt } }: Message): string {
  return JSON.stringify({ key, lane, type, body, enqueuedAt })
}

/** Reads what is stored, as strictly as the door: `undefined` for what no `send()` would have let in. */
export function readRecord(text: string, now: number): MessageParts | undefined {
  try {
    const { key, lane, type, body, enqueuedAt } = JSON.parse(text) as Record<string, unknown>
    if (typeof key !== 'string' || typeof body !== 'string' || !Number.isFinite(enqueuedAt)) return undefined
    return {
      key: readKey(key),
      lane: named('lane', lane),
      ...bodyOf(body, type),
      enqueuedAt: Math.min(Number(enqueuedAt), now),
      restored: true,
    }
  } catch {
    // Not ours, or torn.
    return undefined
  }
}
