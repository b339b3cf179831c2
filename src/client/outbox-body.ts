import { show } from '../protocol/options.js'

/** A message as it goes over the wire. */
export interface Body {
  readonly text: string
  /** Its content type. */
  readonly type: 'text/plain;charset=UTF-8' | 'application/json'
  readonly bytes: number
}

/** Writes what is sent: a string as text, anything else as JSON. @throws TypeError for what JSON cannot hold. */
export function encodeBody(data: unknown): Body {
  if (typeof data === 'string') return bodyOf(data, 'text/plain;charset=UTF-8')
  if (isLostInJson(data)) {
    throw new TypeError(
      `Expected \`data\` to be a string, or what JSON can hold, got ${nameOf(data)}, of which JSON keeps nothing`,
    )
  }
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (cause) {
    throw new TypeError('Expected `data` to be what JSON can hold: no bigint, and nothing that holds itself', { cause })
  }
  if (text === undefined) {
    throw new TypeError(`Expected \`data\` to be a string, or what JSON can hold, got ${show(data)}`)
  }
  return bodyOf(text, 'application/json')
}

export function bodyOf(text: string, type: Body['type']): Body {
  return { text, type, bytes: new TextEncoder().encode(text).length }
}

/** What `JSON.stringify` turns into `{}`, or a picture of itself, without a word. */
function isLostInJson(data: unknown): boolean {
  if (typeof data !== 'object' || data === null || 'toJSON' in data) return false
  if (ArrayBuffer.isView(data) || data instanceof ArrayBuffer) return true
  if (data instanceof Map || data instanceof Set || data instanceof Promise) return true
  return ['Blob', 'File', 'FormData', 'URLSearchParams', 'ReadableStream'].includes(nameOf(data))
}

function nameOf(data: unknown): string {
  return Object.prototype.toString.call(data).slice('[object '.length, -1)
}
