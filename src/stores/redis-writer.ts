import { randomEpoch, randomTag } from '../protocol/cursor.js'
import { SseError } from '../protocol/error.js'
import type { AppendEvent, Appended } from '../protocol/store.js'
import { type RedisCommands, texts } from './redis-commands.js'
import { RedisScript } from './redis-line.js'
import { APPEND } from './redis-scripts.js'

/** One script call appends no more than this, unless a single append is larger: Redis does nothing else meanwhile. */
const BATCH_EVENTS = 512
const BATCH_CHARS = 512 * 1024
/** The most that may wait for the answers to earlier appends, in characters. */
const MAX_WAITING_CHARS = 64 * 1024 * 1024

const append = new RedisScript(APPEND)

interface Waiting {
  readonly events: readonly AppendEvent[]
  readonly chars: number
  resolve(places: Appended[]): void
  reject(error: unknown): void
}

/** Appends: what comes for a stream while a call for it is under way goes with the next one, in order. */
export class RedisWriter {
  readonly #commands: RedisCommands
  readonly #keysOf: (stream: string) => readonly string[]
  readonly #argsOf: (stream: string) => readonly string[]
  readonly #queues = new Map<string, Waiting[]>()
  /** By this and a number the server knows a batch that a client sends twice. */
  #writer: string | undefined
  #batches = 0
  #waitingChars = 0

  constructor(
    commands: RedisCommands,
    keysOf: (stream: string) => readonly string[],
    argsOf: (stream: string) => readonly string[],
  ) {
    this.#commands = commands
    this.#keysOf = keysOf
    this.#argsOf = argsOf
  }

  append(stream: string, events: readonly AppendEvent[]): Promise<Appended[]> {
    // While the server is away nothing may pile up here.
    this.#commands.check()
    const chars = events.reduce((sum, event) => sum + lengthOf(event), 0)
    if (this.#waitingChars + chars > MAX_WAITING_CHARS) {
      throw new SseError('OVERLOADED', 'Too much waits to be appended to Redis; see `maxPendingBytes` of the hub.')
    }
    this.#waitingChars += chars
    return new Promise((resolve, reject) => {
      const waiting = { events, chars, resolve, reject }
      const queue = this.#queues.get(stream)
      if (queue) {
        queue.push(waiting)
        return
      }
      const begun = [waiting]
      this.#queues.set(stream, begun)
      // What else this turn of the loop appends goes with it.
      queueMicrotask(() => void this.#drain(stream, begun))
    })
  }

  async #drain(stream: string, queue: Waiting[]): Promise<void> {
    while (queue.length > 0) {
      const batch = takeBatch(queue)
      for (const { chars } of batch) this.#waitingChars -= chars
      try {
        const places = await this.#send(
          stream,
          batch.flatMap(({ events }) => events),
        )
        let at = 0
        for (const { events, resolve } of batch) {
          resolve(places.slice(at, at + events.length))
          at += events.length
        }
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#queues.delete(stream)
  }

  async #send(stream: string, events: readonly AppendEvent[]): Promise<Appended[]> {
    this.#writer ??= randomEpoch()
    const tags = events.map(() => randomTag())
    const args = [...this.#argsOf(stream), randomEpoch(), this.#writer, String(++this.#batches)]
    for (const [index, { event, key, data }] of events.entries()) {
      const tag = String(tags[index])
      if (event && key) args.push(`b${tag}`, event, key, data)
      else if (event) args.push(`e${tag}`, event, data)
      else if (key) args.push(`k${tag}`, key, data)
      else args.push(tag, data)
    }
    const answer = texts(await this.#commands.run(append, this.#keysOf(stream), args)) ?? []
    if (answer[0] === 'SEALED') {
      throw new SseError('SEALED', `The stream ${JSON.stringify(stream)} is sealed and takes no more events.`)
    }
    if (answer[0] !== 'OK') throw new Error('Redis was sent this append after a later one of the same process.')
    return placesOf(answer, tags)
  }
}

function lengthOf({ event = '', key = '', data }: AppendEvent): number {
  return event.length + key.length + data.length
}

/** As many appends as one call may hold, and one at least. */
function takeBatch(queue: Waiting[]): Waiting[] {
  let [count, events, chars] = [0, 0, 0]
  for (const waiting of queue) {
    events += waiting.events.length
    chars += waiting.chars
    if (count > 0 && (events > BATCH_EVENTS || chars > BATCH_CHARS)) break
    count++
  }
  return queue.splice(0, count)
}

function placesOf([, epoch = '', base = '', baseTag = '', ...duplicates]: readonly string[], tags: readonly number[]) {
  const known = new Map<number, { offset: number; tag: number }>()
  for (let at = 0; at < duplicates.length; at += 3) {
    known.set(Number(duplicates[at]), { offset: Number(duplicates[at + 1]), tag: Number(duplicates[at + 2]) })
  }
  let offset = Number(base)
  let previousTag = Number(baseTag)
  return tags.map((tag, index): Appended => {
    const first = known.get(index)
    if (first) return { epoch, ...first, duplicate: true, previousTag: 0 }
    const place = { epoch, offset: ++offset, tag, duplicate: false, previousTag }
    previousTag = tag
    return place
  })
}
