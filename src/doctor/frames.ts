import { END, GAP, HEARTBEAT, parseEnd, parseReady, READY } from '../protocol/control.js'
import type { FrameKind } from './trace.js'

/** A frame as the bytes held it, before it is put into a trace. */
export interface ReadFrame {
  readonly kind: FrameKind
  readonly bytes: number
  readonly sentAt?: number | undefined
  readonly mark: number
  readonly heartbeatMs?: number | undefined
  readonly connection?: number | undefined
  readonly endReason?: string | undefined
}

/**
 * Splits the text of a stream into its frames: comments as soon as their line is complete, events at their empty line.
 * The client's parser tells nothing of comments, and here they are half of the evidence.
 */
export class FrameReader {
  readonly #onFrame: (frame: ReadFrame) => void
  #rest = ''
  #atStart = true
  #endedInCr = false
  #event = ''
  #data: string[] = []
  #id = ''
  #bytes = 0

  constructor(onFrame: (frame: ReadFrame) => void) {
    this.#onFrame = onFrame
  }

  /** Whether an unfinished line or event is held. */
  get isMidFrame(): boolean {
    return this.#rest !== '' || this.#bytes > 0
  }

  get isMidLine(): boolean {
    return this.#rest !== ''
  }

  feed(text: string): void {
    let rest = this.#rest + (this.#atStart ? text.replace(/^\uFEFF/, '') : text)
    if (text !== '') this.#atStart = false
    if (this.#endedInCr && rest !== '') {
      this.#endedInCr = false
      if (rest.startsWith('\n')) rest = rest.slice(1)
    }
    let from = 0
    for (const { 0: lineBreak, index } of rest.matchAll(/\r\n|\r|\n/g)) {
      this.#line(rest.slice(from, index))
      from = index + lineBreak.length
    }
    this.#endedInCr = rest.endsWith('\r')
    this.#rest = rest.slice(from)
  }

  #line(line: string): void {
    if (line === '') {
      this.#finish()
      return
    }
    if (line.startsWith(':')) {
      const text = line.slice(1).trim()
      const sentAt = timeIn(text)
      const kind = sentAt === undefined ? 'comment' : 'heartbeat'
      this.#onFrame({ kind, bytes: line.length + 1, sentAt, mark: hash(`:${text}`) })
      return
    }
    this.#bytes += line.length + 1
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'event') this.#event = value
    else if (name === 'data') this.#data.push(value)
    else if (name === 'id') this.#id = value
  }

  #finish(): void {
    if (this.#bytes === 0) return
    const bytes = this.#bytes + 1
    const data = this.#data.join('\n')
    const mark = hash(`${this.#event}\n${this.#id}\n${data}`)
    const kind = this.#data.length === 0 ? 'fields' : kindOf(this.#event)
    this.#onFrame({ kind, bytes, mark, ...control(kind, data) })
    this.#event = this.#id = ''
    this.#data = []
    this.#bytes = 0
  }
}

function kindOf(event: string): FrameKind {
  if (event === READY) return 'ready'
  if (event === HEARTBEAT) return 'heartbeat'
  if (event === GAP) return 'gap'
  return event === END ? 'end' : 'event'
}

function control(kind: FrameKind, data: string): Partial<ReadFrame> {
  if (kind === 'heartbeat') return { sentAt: timeIn(data) }
  if (kind === 'end') return { endReason: parseEnd(data) }
  if (kind !== 'ready') return {}
  const { time, heartbeatMs, connection } = parseReady(data)
  return { sentAt: time, heartbeatMs, connection: connection === undefined ? undefined : hash(connection) }
}

/** 2001 to 2096: what is outside is a counter, not a time. */
const MIN_TIME = 1e12
const MAX_TIME = 4e12

/** The time that a heartbeat carries: milliseconds since the epoch, or, as some servers write, an ISO date. */
function timeIn(text: string): number | undefined {
  if (text.length > 200) return undefined
  const digits = /(?<!\d)\d{13}(?!\d)/.exec(text)?.[0]
  const iso = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+ ?(?:Z|[+-]\d\d:?\d\d)/.exec(text)?.[0]
  const time = digits ? Number(digits) : iso ? Date.parse(iso) : Number.NaN
  return time >= MIN_TIME && time <= MAX_TIME ? time : undefined
}

/** FNV-1a: enough to know an event again, and no way back to what it said. */
export function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}
