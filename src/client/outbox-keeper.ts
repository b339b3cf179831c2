import type { Clock } from '../protocol/clock.js'
import { bodyOf } from './outbox-body.js'
import { randomId } from './outbox-key.js'
import type { Message, MessageParts } from './outbox-message.js'
import { Owners } from './outbox-owners.js'
import type { OutboxStorage } from './outbox-storage.js'

/** A storage that takes longer is not waited for. */
const PATIENCE_MS = 5_000
const STAMP_LENGTH = 9

interface Deps {
  readonly storage: OutboxStorage
  readonly url: string
  readonly clock: Clock
  readonly onError: (error: unknown) => void
}

/**
 * Keeps the messages of one outbox in a storage, and finds there what others have left. A name is
 * `<address> <owner> <number>`; names of one owner sort in the order of its sends, and owners by age.
 */
export class Keeper {
  readonly #storage: OutboxStorage
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #prefix: string
  #owner = ''
  readonly #owners: Owners
  /** What is read, and given up at the end. */
  readonly #reads = new Set<() => void>()
  /** What is written, and waited for at the end. */
  readonly #writes = new Set<Promise<unknown>>()
  #backlog: string[] = []
  #count = 0
  #isStuck = false
  #isClosed = false

  constructor({ storage, url, clock, onError }: Deps) {
    this.#storage = storage
    this.#clock = clock
    this.#onError = onError
    // Without the query: a token there may be another after a reload.
    this.#prefix = `${url.replace(/[?#].*/, '').replaceAll(' ', '%20')} `
    this.#owners = new Owners((owner) => `steady-sse outbox ${this.#prefix}${owner}`)
  }

  /** How many messages are stored that were not read yet. */
  get backlog(): number {
    return this.#backlog.length
  }

  /**
   * Takes over what nobody owns any more, and calls `found` when there is more, later, from those that live now.
   * Never rejects.
   */
  async open(found: () => void): Promise<void> {
    const names = (await this.#read(() => this.#names(), 'names')) ?? []
    const others = new Set(names.map((name) => this.#ownerOf(name)))
    this.#owner = this.#newOwner([...others])
    await this.#read(() => this.#owners.begin(this.#owner), 'lock')
    const adopted = new Set<string>()
    for (const owner of others) {
      if (this.#isStuck) break
      const isFree = await this.#read(() => this.#owners.take(owner), 'lock')
      if (isFree) adopted.add(owner)
      else if (isFree === false) this.#owners.onFree(owner, () => void this.#adopt(owner, found))
    }
    this.#backlog.push(...names.filter((name) => adopted.has(this.#ownerOf(name))))
  }

  /** The next stored message, which stays where it is until `skip`; `undefined` when it cannot be read. */
  async peek(): Promise<(MessageParts & { readonly name: string }) | undefined> {
    const name = this.#backlog[0] ?? ''
    const text = await this.#read(() => this.#storage.read(name), 'read')
    // What it holds is for the next outbox: those that were sent here shall not wait for it.
    if (this.#isStuck) this.#backlog = []
    if (typeof text !== 'string') return undefined
    try {
      const { key, lane, type, body, enqueuedAt } = JSON.parse(text) as Record<string, unknown>
      const isText = type === 'text/plain;charset=UTF-8'
      if (
        typeof key === 'string' &&
        typeof lane === 'string' &&
        typeof body === 'string' &&
        Number.isFinite(enqueuedAt)
      ) {
        const since = Math.min(Number(enqueuedAt), this.#clock.now())
        const encoded = bodyOf(body, isText ? 'text/plain;charset=UTF-8' : 'application/json')
        return { key, lane, body: encoded, enqueuedAt: since, restored: true, name }
      }
    } catch {
      // Not ours, or torn.
    }
    this.#onError(new Error(`What is stored as ${JSON.stringify(name)} is no message, and was left there`))
    return undefined
  }

  skip(): void {
    this.#backlog.shift()
  }

  /** Stores a message. `kept` of it resolves when it is, or when to wait on would help nobody. */
  keep(message: Message): void {
    if (this.#isStuck || this.#isClosed) return
    const name = `${this.#prefix}${this.#owner} ${stamp(this.#count++)}`
    const { key, lane, enqueuedAt } = message
    const { type, text } = message.body
    message.name = name
    const record = JSON.stringify({ key, lane, type, body: text, enqueuedAt })
    const write = async () => {
      await this.#storage.write(name, record)
      message.isStored = true
    }
    message.kept = this.#write(write, 'write')
  }

  /** A message is over, and nobody shall send it again. */
  forget(message: Message): void {
    const { name } = message
    if (name === undefined || this.#isStuck) return
    message.kept = this.#write(() => message.kept.then(() => this.#storage.remove(name)), 'remove')
  }

  /** Waits for what is being written, and lets go: what is stored then is anybody's. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#backlog = []
    for (const giveUp of [...this.#reads]) giveUp()
    await Promise.all(this.#writes)
    this.#owners.end()
  }

  async #adopt(owner: string, found: () => void): Promise<void> {
    const names = await this.#read(() => this.#names(), 'names')
    if (this.#isClosed) return
    this.#backlog.push(...(names ?? []).filter((name) => this.#ownerOf(name) === owner))
    found()
  }

  async #names(): Promise<string[]> {
    const names = await this.#storage.names()
    return names.filter((name) => name.startsWith(this.#prefix) && this.#ownerOf(name) !== this.#owner).sort()
  }

  /** Sorts behind all others, whatever the clock says: what it sends waits behind what it takes over. */
  #newOwner(others: readonly string[]): string {
    const newest = others.map((owner) => Number.parseInt(owner.slice(0, STAMP_LENGTH), 36) || 0)
    return stamp(Math.max(this.#clock.now(), ...newest.map((at) => at + 1))) + randomId()
  }

  #ownerOf(name: string): string {
    return name.slice(this.#prefix.length).split(' ', 1)[0] ?? ''
  }

  async #write(begin: () => Promise<unknown>, what: string): Promise<void> {
    const write = this.#within(begin, what, () => {})
    this.#writes.add(write)
    await write
    this.#writes.delete(write)
  }

  async #read<T>(begin: () => Promise<T>, what: string): Promise<T | undefined> {
    if (this.#isClosed) return undefined
    let giveUp = () => {}
    const read = this.#within(begin, what, (finish) => {
      giveUp = finish
      this.#reads.add(giveUp)
    })
    const value = await read
    this.#reads.delete(giveUp)
    return value
  }

  /** What comes of it in time; `undefined` when it fails, which is reported. */
  #within<T>(begin: () => Promise<T>, what: string, begun: (finish: () => void) => void): Promise<T | undefined> {
    return new Promise((resolve) => {
      const finish = (value?: T) => {
        cancel()
        resolve(value)
      }
      const cancel = this.#clock.setTimeout(() => {
        // One that hangs is left alone until it answers: what is asked of it meanwhile would pile up.
        this.#isStuck = true
        this.#onError(new Error(`The storage did not answer within ${PATIENCE_MS} ms (${what})`))
        finish()
      }, PATIENCE_MS)
      begun(finish)
      const attempt = async () => begin()
      attempt().then(
        (value) => {
          this.#isStuck = false
          finish(value)
        },
        (error: unknown) => {
          this.#isStuck = false
          this.#onError(error)
          finish()
        },
      )
    })
  }
}

/** A number as text that sorts as numbers do. */
function stamp(value: number): string {
  return Math.floor(value).toString(36).padStart(STAMP_LENGTH, '0')
}
