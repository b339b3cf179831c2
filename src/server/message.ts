import type { Clock } from '../protocol/clock.js'
import { race } from './race.js'
import { Refusal } from './refusal.js'

/** What an adapter knows of a request that carries a message. */
export interface Incoming {
  readonly method: string
  header(name: 'idempotency-key' | 'content-type' | 'content-encoding' | 'content-length'): string | undefined
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal
  /** The body, where something in front of us has read it; `undefined` when it is still to be read. */
  readonly body: Body | undefined
  /** Whether somebody in front of us has begun to read it and left nothing behind. */
  readonly consumed: boolean
  /** Gives the body piece by piece. Stops and rejects when `take` throws, when the body breaks off, or after `stop`. */
  read(take: (bytes: Uint8Array) => void): Promise<void>
  /** The rest of the body is not wanted: whatever comes is thrown away. Harmless when it was read. */
  stop(): void
}

/** A body as the wire had it, or as a parser made it. */
export type Body = { readonly raw: Uint8Array | string } | { readonly message: unknown }

/** A message, and the text that tells it from another. */
export interface Message {
  readonly value: unknown
  readonly text: string
}

/** How a body may be read. */
export interface BodyLimits {
  readonly clock: Clock
  readonly maxBodyBytes: number
  readonly bodyTimeoutMs: number
}

const encoder = new TextEncoder()

/**
 * The message of a request.
 *
 * The same text comes out whether we parsed the body or somebody in front of us did: a repetition is
 * recognised after that was changed.
 *
 * @throws Refusal 400 malformed or broken off, 408 too slow, 413 too large, 415 of a type that cannot be read.
 */
export async function messageOf(incoming: Incoming, limits: BodyLimits): Promise<Message> {
  const { body } = incoming
  if (body && 'message' in body) {
    const message = jsonMessage(body.message)
    // The parser has a bound of its own; the smaller one counts.
    if (encoder.encode(message.text).length - 'json:'.length > limits.maxBodyBytes) throw tooLarge(limits.maxBodyBytes)
    return message
  }
  const type = readableType(incoming.header('content-type'))
  if (body) return typed(type, textOf(body.raw, type, limits.maxBodyBytes))
  const encoding = incoming.header('content-encoding')?.toLowerCase() ?? 'identity'
  if (encoding !== 'identity')
    throw new Refusal(415, 'A body in a content encoding cannot be read here.', { 'accept-encoding': 'identity' })
  return typed(type, textOf(await gather(incoming, limits), type, limits.maxBodyBytes))
}

async function gather(incoming: Incoming, { clock, maxBodyBytes, bodyTimeoutMs }: BodyLimits): Promise<Uint8Array> {
  if (Number(incoming.header('content-length')) > maxBodyBytes) throw tooLarge(maxBodyBytes)
  if (incoming.consumed) {
    throw new TypeError(
      'Expected a request whose body is unread, or was left as `request.body`. Mount this handler in front of what reads it.',
    )
  }
  const pieces: Uint8Array[] = []
  let size = 0
  const take = (bytes: Uint8Array) => {
    size += bytes.length
    if (size > maxBodyBytes) throw tooLarge(maxBodyBytes)
    pieces.push(bytes)
  }
  const late = () => new Refusal(408, 'The body did not arrive in time.')
  try {
    await race(incoming.read(take), { clock, ms: bodyTimeoutMs, late, signal: incoming.signal })
  } catch (error) {
    if (error instanceof Refusal) throw error
    // Nobody may be left to read this.
    throw new Refusal(400, 'The body broke off.')
  }
  const all = new Uint8Array(size)
  let offset = 0
  for (const piece of pieces) {
    all.set(piece, offset)
    offset += piece.length
  }
  return all
}

interface ReadableType {
  readonly isJson: boolean
  readonly decoder: TextDecoder
}

/** JSON (`application/json`, anything `+json`) and `text/…`, in an encoding that the runtime knows. */
function readableType(contentType: string | undefined): ReadableType {
  const [type = '', ...parameters] = (contentType ?? '').split(';').map((part) => part.trim())
  const isJson = /^(application\/json|[\w.+-]+\/[\w.+-]+\+json)$/i.test(type)
  const charset = parameters.find((parameter) => /^charset=/i.test(parameter))?.slice(8)
  if (isJson || /^text\/[\w.+-]+$/i.test(type)) {
    try {
      return { isJson, decoder: new TextDecoder(charset?.replaceAll('"', '') ?? 'utf-8', { fatal: true }) }
    } catch {
      // A charset that is not known.
    }
  }
  throw new Refusal(415, 'Expected a body of the type application/json, …+json or text/….')
}

function textOf(raw: Uint8Array | string, { decoder }: ReadableType, maxBytes: number): string {
  const size = typeof raw === 'string' ? encoder.encode(raw).length : raw.length
  if (size > maxBytes) throw tooLarge(maxBytes)
  if (typeof raw === 'string') return raw
  try {
    return decoder.decode(raw)
  } catch {
    throw new Refusal(400, 'The body is not text in its charset.')
  }
}

function typed({ isJson }: ReadableType, text: string): Message {
  if (!isJson) return { value: text, text: `text:${text}` }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Refusal(400, 'The body is not JSON.')
  }
  return jsonMessage(value)
}

function jsonMessage(value: unknown): Message {
  try {
    return { value, text: `json:${JSON.stringify(value)}` }
  } catch (error) {
    // What nests too deep can be parsed, but not written again.
    if (error instanceof RangeError) throw new Refusal(400, 'The body nests too deep.')
    throw error
  }
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal(413, `Expected a body of at most ${maxBytes} bytes.`)
}
