import { CONTROL_PREFIX } from '../protocol/control.js'
import { encodeEvent, singleLine, wellFormed } from '../protocol/encode.js'
import { SseError } from '../protocol/error.js'
import type { PublishEvent } from '../protocol/event.js'
import { named, show } from '../protocol/options.js'
import type { AppendEvent } from '../protocol/store.js'

/** The longest id that a frame can carry. */
const LONGEST_ID = 'x'.repeat(64)
const encoder = new TextEncoder()

/**
 * The door of `publish`: turns what users pass in into what a store takes, or throws.
 *
 * @throws TypeError for what no frame can carry; SseError `FRAME_TOO_LARGE` for what no frame may.
 */
export function prepare(event: PublishEvent, maxFrameBytes: number): AppendEvent {
  if (typeof event !== 'object' || event === null) {
    throw new TypeError(`Expected an event like { data: 'hello' }, got ${show(event)}`)
  }
  const name = event.event === undefined || event.event === '' ? undefined : singleLine('event', event.event)
  if (name?.startsWith(CONTROL_PREFIX)) {
    throw new TypeError(
      `Expected \`event\` not to begin with '${CONTROL_PREFIX}', which is reserved, got ${show(name)}`,
    )
  }
  const data = text(event.data)
  const key = event.key === undefined ? undefined : named('key', event.key)
  // A character takes at most three bytes, and a line break becomes the seven of `\ndata: `.
  const atMost = data.length * 7 + (name?.length ?? 0) * 3 + 256
  if (atMost > maxFrameBytes) {
    const bytes = encoder.encode(encodeEvent({ event: name, data, id: LONGEST_ID })).length
    if (bytes > maxFrameBytes) {
      throw new SseError(
        'FRAME_TOO_LARGE',
        `The event takes ${bytes} bytes, more than \`maxFrameBytes\` (${maxFrameBytes}). Publish a reference to what is large, or raise the bound.`,
      )
    }
  }
  return new Prepared(name, data, key)
}

/** A class and not a literal, for the sake of its memory: see `publisher.ts`. */
class Prepared implements AppendEvent {
  readonly event: string | undefined
  readonly data: string
  readonly key: string | undefined

  constructor(event: string | undefined, data: string, key: string | undefined) {
    this.event = event
    this.data = data
    this.key = key
  }
}

/** All of them, or none. */
export function prepareAll(input: readonly PublishEvent[], maxFrameBytes: number): AppendEvent[] {
  const events: AppendEvent[] = []
  for (const event of input) events.push(prepare(event, maxFrameBytes))
  return events
}

function text(data: unknown): string {
  if (typeof data === 'string') return wellFormed('data', data)
  const json = JSON.stringify(data)
  if (json === undefined) {
    throw new TypeError(`Expected \`data\` to be a string or something that JSON can hold, got ${show(data)}`)
  }
  return json
}

/** What events hold on to while they are under way. */
export function weight(events: readonly AppendEvent[]): number {
  let sum = 0
  for (const event of events) sum += event.data.length + (event.event?.length ?? 0) + 64
  return sum
}
