import type { SseEvent } from './event.js'

const LINE_BREAK = /\r\n|\r|\n/

/**
 * Encodes one event as a frame of `text/event-stream`.
 *
 * `id` is the last field: some clients commit it on sight, and a cut in mid-frame must not move
 * their cursor past an event they never saw.
 *
 * @throws TypeError when `event` or `id` holds CR, LF or NUL, when `retry` is no whole number, or
 * when a text holds half a character (a lone surrogate), which UTF-8 cannot carry.
 * @example
 * ```ts
 * encodeEvent({ event: 'greeting', data: 'hello', id: '1' })
 * // 'event: greeting\ndata: hello\nid: 1\n\n'
 * ```
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function encodeEvent(event: SseEvent): string {
  const { event: name, data, id, retry } = event
  let frame = ''
  if (retry !== undefined) frame += `retry: ${wholeNumber(retry)}\n`
  if (name !== undefined && name !== '') frame += `event: ${singleLine('event', name)}\n`
  frame += `${dataLines(wellFormed('data', data))}\n`
  if (id !== undefined) frame += `id: ${singleLine('id', id)}\n`
  return `${frame}\n`
}

/**
 * Encodes a comment: bytes that prove the path and that no reader is handed.
 *
 * @param text - split into several comment lines where it holds line breaks. Default: empty.
 * @example
 * ```ts
 * encodeComment('still here') // ': still here\n\n'
 * ```
 */
export function encodeComment(text = ''): string {
  if (text === '') return ':\n\n'
  return `${wellFormed('comment', text)
    .split(LINE_BREAK)
    .map((line) => `: ${line}`)
    .join('\n')}\n\n`
}

/**
 * A frame of what was checked when it was published: to check it again would cost as much as to encode it.
 *
 * @param end - what follows the data: a break, the line with the cursor, and the blank one.
 */
export function encodeChecked(event: string | undefined, data: string, end: string): string {
  return event === undefined ? `${dataLines(data)}${end}` : `event: ${event}\n${dataLines(data)}${end}`
}

/** Without the line break at the end. */
function dataLines(data: string): string {
  // Two `includes` are cheaper than one regular expression, and nearly all data is one line.
  if (!data.includes('\n') && !data.includes('\r')) return `data: ${data}`
  return `data: ${data.split(LINE_BREAK).join('\ndata: ')}`
}

/** Returns `value` if it can stand in a single-line field, else throws a `TypeError`. */
export function singleLine(field: string, value: string): string {
  if (typeof value !== 'string') throw new TypeError(`Expected \`${field}\` to be a string, got ${typeof value}`)
  if (value.includes('\n') || value.includes('\r') || value.includes('\0')) {
    throw new TypeError(
      `Expected \`${field}\` to hold no CR, LF or NUL, got ${JSON.stringify(value.slice(0, 80))}. Put free text into \`data\`, where line breaks are safe.`,
    )
  }
  return wellFormed(field, value)
}

/** Returns `value` if UTF-8 can carry it, else throws a `TypeError`. */
export function wellFormed(field: string, value: string): string {
  if (typeof value !== 'string') {
    throw new TypeError(`Expected \`${field}\` to be a string, got ${value === null ? 'null' : typeof value}`)
  }
  if (!value.isWellFormed()) {
    throw new TypeError(
      `Expected \`${field}\` to hold whole characters, got a lone surrogate, which UTF-8 cannot carry. Do not cut text inside a surrogate pair, or send it as JSON, which escapes it.`,
    )
  }
  return value
}

function wholeNumber(retry: number): number {
  if (!Number.isSafeInteger(retry) || retry < 0) {
    throw new TypeError(`Expected \`retry\` to be a whole number of milliseconds, got ${String(retry)}`)
  }
  return retry
}
