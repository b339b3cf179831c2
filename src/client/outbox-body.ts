const TEXT = 'text/plain;charset=UTF-8'

/** A message as it goes over the wire. */
export interface Body {
  readonly body: string
  /** Its content type. */
  readonly type: typeof TEXT | 'application/json'
  readonly bytes: number
}

/** What `JSON.stringify` turns into `{}`, or a picture of itself, without a word. */
const LOST_IN_JSON = /^(ArrayBuffer|Blob|File|FormData|Map|Promise|ReadableStream|Set|URLSearchParams)$/

/** Writes what is sent: a string as text, anything else as JSON. @throws TypeError for what JSON cannot hold. */
export function encodeBody(data: unknown): Body {
  if (typeof data === 'string') return bodyOf(data, TEXT)
  const name = Object.prototype.toString.call(data).slice('[object '.length, -1)
  // What has a `toJSON` says itself what is kept of it.
  const isLost = (ArrayBuffer.isView(data) || LOST_IN_JSON.test(name)) && !('toJSON' in Object(data))
  let text: string | undefined
  let why: ErrorOptions | undefined
  try {
    if (!isLost) text = JSON.stringify(data)
  } catch (cause) {
    // A bigint, or what holds itself.
    why = { cause }
  }
  if (text !== undefined) return bodyOf(text)
  throw new TypeError(
    `Expected \`data\` to be a string, or what JSON can hold (no bigint, and nothing that holds itself), got ${name}`,
    why,
  )
}

export function bodyOf(body: string, type?: unknown): Body {
  const bytes = new TextEncoder().encode(body).length
  return { body, type: type === TEXT ? TEXT : 'application/json', bytes }
}
