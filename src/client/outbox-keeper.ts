import type { Clock } from '../protocol/clock.js'
import { randomId } from './outbox-key.js'
import type { Message, MessageParts } from './outbox-message.js'
import { Owners } from './outbox-owners.js'
import { Patience } from './outbox-patience.js'
import { readRecord, writeRecord } from './outbox-record.js'
import type { OutboxStorage } from './outbox-storage.js'

const STAMP_LENGTH = 9
/** Those that came later are looked for at most this often. */
const LOOK_SPACING_MS = 10_000

interface Deps {
  readonly storage: OutboxStorage
  /** Whose messages these are: what is stored for another address is not touched. */
  readonly address: string
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** There is a backlog. */
  readonly onFound: () => void
}

/**
 * Keeps the messages of one outbox in a storage, and finds there what others have left. A name is
 * `<address> <owner> <number>`; names of one owner sort in the order of its sends, and owners by age.
 */
export class Keeper {
  readonly #storage: OutboxStorage
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #onFound: () => void
  readonly #prefix: string
  readonly #patience: Patience
  readonly #owners: Owners
  readonly #lockPatience: Patience
  /** Whose messages are ours, or will be when they are gone. */
  readonly #known = new Set<string>()
  /** What could not be stored yet, oldest first. */
  readonly #unkept = new Set<Message>()
  /** What could not be removed yet. */
  readonly #remains = new Set<string>()
  #owner = ''
  #backlog: string[] = []
  #count = 0
  #hasOthers = false
  #isLooking = true
  #lookedAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor({ storage, address, clock, onError, onFound }: Deps) {
    this.#storage = storage
    this.#clock = clock
    this.#onError = onError
    this.#onFound = onFound
    this.#prefix = `${address.replaceAll(' ', '%20')} `
    this.#patience = new Patience({ who: 'storage', clock, onError, onBack: () => this.#catchUp() })
    this.#lockPatience = new Patience({ who: 'lock manager', clock, onError, onBack: () => {} })
    this.#owners = new Owners((owner) => `steady-sse outbox ${this.#prefix}${owner}`)
  }

  /** How many messages are stored that can be read now, and were not yet. */
  get backlog(): number {
    // While the storage hangs, those that were sent here shall not wait for what it holds.
    return this.#patience.isStuck ? 0 : this.#backlog.length
  }

  /** Something is stored that may be older than what was sent before `open()` was through. */
  get mayHoldOlder(): boolean {
    return this.#hasOthers || this.#backlog.length > 0
  }

  /** Takes over what nobody owns any more; of what is free later, `onFound` tells. Never rejects. */
  async open(): Promise<void> {
    const names = await this.#names()
    this.#hasOthers = names.length > 0
    this.#begin(names)
    // Before the lock, or what is sent right after the load of a page could end with it.
    this.#catchUp()
    // Another tab may have been faster, and taken over what was stored just now: it is sent by both, with one key.
    while ((await this.#take(this.#owner)) === false && !this.#isClosed) this.#begin(names)
    await this.#takeOver(names)
    this.#hasOthers = false
  }

  /** Takes over from those who came later and have gone, or waits for their end. Never rejects. */
  async look(): Promise<void> {
    const agoMs = this.#clock.now() - this.#lookedAt
    const isEarly = agoMs >= 0 && agoMs < LOOK_SPACING_MS
    if (!this.#owners.canTell || isEarly || this.#isLooking || this.#isClosed || this.#patience.isStuck) return
    this.#isLooking = true
    await this.#takeOver(await this.#names())
  }

  /** The next stored message, which stays where it is until `skip`; `undefined` when it cannot be read. */
  async peek(): Promise<(MessageParts & { readonly name: string }) | undefined> {
    const name = this.#backlog[0] ?? ''
    const text = await this.#patience.read(() => twice(() => this.#storage.read(name)), 'read')
    if (typeof text !== 'string') return undefined
    const parts = readRecord(text, this.#clock.now())
    if (parts) return { ...parts, name }
    this.#onError(new Error(`What is stored as ${JSON.stringify(name)} is no message, and was left there`))
    return undefined
  }

  skip(): void {
    this.#backlog.shift()
  }

  /** Stores a message, now or when that is possible. `kept` of it resolves when to wait on would help nobody. */
  keep(message: Message): void {
    if (this.#isClosed) return
    if (this.#owner === '' || this.#patience.isStuck) {
      this.#unkept.add(message)
      return
    }
    const name = `${this.#prefix}${this.#owner} ${stamp(this.#count++)}`
    const record = writeRecord(message)
    message.name = name
    const write = async () => {
      await this.#storage.write(name, record)
      message.isStored = true
      // It took so long that the message is over by now.
      if (message.isForgotten) await this.#remove(name)
    }
    message.kept = this.#patience.write(write, 'write')
  }

  /** A message is over, and nobody shall send it again. */
  forget(message: Message): void {
    const { name } = message
    message.isForgotten = true
    this.#unkept.delete(message)
    if (name === undefined) return
    if (this.#patience.isStuck) this.#remains.add(name)
    else message.kept = this.#patience.write(() => message.kept.then(() => this.#remove(name)), 'remove')
  }

  /** Waits for what is being written, and lets go: what is stored then is anybody's. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#backlog = []
      this.#unkept.clear()
      if (!this.#patience.isStuck) this.#sweep()
    }
    await Promise.all([this.#patience.close(), this.#lockPatience.close()])
    this.#owners.end()
  }

  /** Makes a name to store under. It sorts behind those that are there, whatever the clock says, and so waits for them. */
  #begin(names: readonly string[]): void {
    const stamps = names.map((name) => Number.parseInt(this.#ownerOf(name).slice(0, STAMP_LENGTH), 36) || 0)
    const newest = stamps.reduce((most, at) => Math.max(most, at + 1), this.#clock.now())
    this.#owner = stamp(newest) + randomId()
    this.#known.add(this.#owner)
  }

  async #takeOver(names: readonly string[]): Promise<void> {
    const adopted = new Set<string>()
    for (const owner of new Set(names.map((name) => this.#ownerOf(name)))) {
      if (this.#patience.isStuck || this.#lockPatience.isStuck || this.#isClosed) break
      if (this.#known.has(owner)) continue
      const isFree = await this.#take(owner)
      if (isFree === undefined) continue
      this.#known.add(owner)
      if (isFree) adopted.add(owner)
      else this.#owners.onFree(owner, () => void this.#adopt(new Set([owner]), []))
    }
    if (adopted.size > 0) await this.#adopt(adopted, names)
    this.#lookedAt = this.#clock.now()
    this.#isLooking = false
  }

  /** Only what is listed when the locks are ours is all: an owner may have written until then. */
  async #adopt(owners: ReadonlySet<string>, before: readonly string[]): Promise<void> {
    const listed = await this.#names()
    if (this.#isClosed) return
    const names = listed.length > 0 ? listed : before
    this.#backlog.push(...names.filter((name) => owners.has(this.#ownerOf(name))))
    this.#onFound()
  }

  /** Whether the owner was gone. */
  #take(owner: string): Promise<boolean | undefined> {
    return this.#lockPatience.read(() => this.#owners.take(owner), 'lock')
  }

  async #names(): Promise<string[]> {
    const names = await this.#patience.read(() => twice(() => this.#storage.names()), 'names')
    return (names ?? []).filter((name) => name.startsWith(this.#prefix)).sort()
  }

  #ownerOf(name: string): string {
    return name.slice(this.#prefix.length).split(' ', 1)[0] ?? ''
  }

  async #remove(name: string): Promise<void> {
    try {
      await twice(() => this.#storage.remove(name))
      this.#remains.delete(name)
    } catch (error) {
      this.#remains.add(name)
      throw error
    }
  }

  /** Removes what is still there of messages that are over. */
  #sweep(): void {
    for (const name of [...this.#remains]) void this.#patience.write(() => this.#remove(name), 'remove')
  }

  /** The storage answers: what was to be stored or removed meanwhile is. */
  #catchUp(): void {
    const messages = [...this.#unkept]
    this.#unkept.clear()
    for (const message of messages) this.keep(message)
    this.#sweep()
    if (this.#backlog.length > 0) this.#onFound()
  }
}

/** A storage that fails once is asked once more: what it does not tell of would be overtaken, or sent again. */
async function twice<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch {
    return ask()
  }
}

/** A number as text that sorts as numbers do. */
function stamp(value: number): string {
  return Math.floor(value).toString(36).padStart(STAMP_LENGTH, '0')
}
