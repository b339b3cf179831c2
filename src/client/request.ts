import type { Settings } from './options.js'
import type { Progress } from './progress.js'
import type { RequestHeaders } from './request-headers.js'

/**
 * How an attempt asks: for a response that stays open, for one batch, or only to see whether such a response
 * would say anything.
 */
export type Way = 'stream' | 'poll' | 'probe'

/** Where the cursor stood in the request, if anywhere. */
export type Asked = 'nothing' | 'header' | 'query' | 'unsendable'

export interface Request {
  readonly url: string
  readonly headers: Headers
  readonly asked: Asked
}

const MAX_CURSOR_BYTES = 8_192
/** Blanks at the ends are trimmed on the way, so that the server would see another cursor. */
const UNFIT = /^[\t ]|[\t ]$|[^\t\x20-\x7e\x80-\xff]/

/** Writes the request of one attempt: headers made for it, the place it resumes from, and the wait of a poll. */
export async function writeRequest(
  settings: Settings,
  made: RequestHeaders,
  progress: Progress,
  pollS: number,
): Promise<Request> {
  const { from } = settings
  const cursor = progress.received
  const headers = await made.make()
  if (!headers.has('accept')) headers.set('accept', 'text/event-stream')
  let url = pollS > 0 ? withQuery(settings.url, 'poll', String(pollS)) : settings.url
  if (from !== undefined) url = withQuery(url, 'from', from)
  if (cursor === null) return { url, headers, asked: 'nothing' }
  const text = cursorHeader(cursor)
  if (text === null) return { url, headers, asked: 'unsendable' }
  if (progress.byQuery) return { url: withQuery(url, 'lastEventId', cursor), headers, asked: 'query' }
  headers.set('last-event-id', text)
  return { url, headers, asked: 'header' }
}

/**
 * The text of the `Last-Event-ID` header: the cursor's UTF-8 bytes, each as one character, which is
 * what `fetch` accepts and what the HTML standard sends. `null` when no header can carry the cursor;
 * to try would fail as if the network had, for ever.
 */
export function cursorHeader(cursor: string): string | null {
  const bytes = new TextEncoder().encode(cursor)
  if (bytes.length > MAX_CURSOR_BYTES || !cursor.isWellFormed()) return null
  const text = String.fromCharCode(...bytes)
  return UNFIT.test(text) ? null : text
}

/** Sets one parameter of the query as text: to parse and write the others anew could break a signature. */
export function withQuery(url: string, name: string, value: string): string {
  const [, path, query = '', fragment] = /^([^?#]*)\??([^#]*)(.*)/s.exec(url) ?? []
  const parts = query.split('&').filter((part) => part !== '' && part.split('=', 1)[0] !== name)
  return `${path}?${[...parts, `${name}=${encodeURIComponent(value)}`].join('&')}${fragment}`
}
