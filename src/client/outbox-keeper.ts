import { randomId } from './outbox-key.js'
import type { Message, MessageParts } from './outbox-message.js'
import type { OutboxSettings } from './outbox-options.js'
import { patienceWith } from './outbox-patience.js'
import { readRecord, writeRecord } from './outbox-record.js'
import type { OutboxStorage } from './outbox-storage.js'

const STAMP_LENGTH = 9
/** Those that came later are looked for at most this often. */
const LOOK_SPACING_MS = 10_000

/** Keeps the messages of one outbox in a storage, and finds there what others have left. */
export interface Keeper {
  /** How many messages are stored that can be read now, and were not yet. */
  readonly backlog: number
  /** Something is stored that may be older than what was sent before `open()` was through. */
  readonly mayHoldOlder: boolean
  /** Takes over what nobody owns any more; of what is free later, `onFound` tells. Never rejects. */
  open(): Promise<void>
  /** Takes over from those who came later and have gone, or waits for their end. Never rejects. */
  look(): Promise<void>
  /** The next stored message, which stays where it is until `skip`; `undefined` when it cannot be read. */
  peek(): Promise<MessageParts | undefined>
  skip(): void
  /** Stores a message, now or when that is possible. `kept` of it resolves when to wait on would help nobody. */
  keep(message: Message): void
  /** A message is over, and nobody shall send it again. */
  forget(message: Message): void
  /** Waits for what is being written, and lets go: what is stored then is anybody's. */
  close(): Promise<void>
}

/**
 * A name is `<address> <owner> <number>`; names of one owner sort in the order of its sends, and owners by age. Each
 * outbox holds a lock with the name of its owner for as long as it lives, and takes over from those whose lock is free.
 * Where there are no Web Locks, all others count as gone.
 *
 * @param onFound - called when there is a backlog.
 */
export function keeperOf(
  storage: OutboxStorage,
  { address, clock, maxBytes }: OutboxSettings,
  onError: (error: unknown) => void,
  onFound: () => void,
): Keeper {
  const { locks } = (globalThis as { navigator?: { locks?: LockManager } }).navigator ?? {}
  const prefix = `${address.replaceAll(' ', '%20')} `
  const disk = patienceWith('storage', clock, onError, catchUp)
  const lockManager = patienceWith('lock manager', clock, onError, () => {})
  const closing = new AbortController()
  const { signal } = closing
  /** Whose messages are ours, or will be when they are gone. */
  const known = new Set<string>()
  /** What could not be stored yet, oldest first. */
  const unkept = new Set<Message>()
  /** What could not be removed yet. */
  const remains = new Set<string>()
  let owner = ''
  let backlog: string[] = []
  let count = 0
  let hasOthers = false
  /** Later, while somebody looks. */
  let nextLookAt = Number.POSITIVE_INFINITY
  let release = () => {}
  /** What every lock is held for. */
  const released = new Promise<void>((resolve) => {
    release = resolve
  })

  const ownerOf = (name: string) => name.slice(prefix.length).replace(/ .*/, '')

  async function listed(): Promise<string[]> {
    // Looked at where what is wrong is reported: a storage is the user's.
    const own = async () => [...(await twice(() => storage.names()))].filter((name) => name.startsWith(prefix)).sort()
    return (await disk.ask(own, 'names', signal)) ?? []
  }

  /** Makes a name to store under. It sorts behind those that are there, whatever the clock says, and so waits for them. */
  function begin(names: readonly string[]): void {
    let newest = clock.now()
    for (const name of names) {
      newest = Math.max(newest, Number.parseInt(ownerOf(name).slice(0, STAMP_LENGTH), 36) + 1 || 0)
    }
    owner = stamp(newest) + randomId()
    known.add(owner)
  }

  /** Resolves with whether the lock of an owner is ours: nobody else takes over from it then. */
  function lock(of: string, options: LockOptions): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (!locks) return resolve(true)
      const held = (lock: Lock | null) => {
        if (lock === null || signal.aborted) return undefined
        resolve(true)
        return released
      }
      locks.request(`steady-sse outbox ${prefix}${of}`, options, held).then(() => resolve(false), reject)
    })
  }

  /** Whether the owner was gone. */
  const take = (of: string) => lockManager.ask(() => lock(of, { ifAvailable: true }), 'lock', signal)

  async function takeOver(names: readonly string[]): Promise<void> {
    const adopted = new Set<string>()
    for (const each of new Set(names.map(ownerOf))) {
      if (disk.isStuck || lockManager.isStuck || signal.aborted) break
      if (known.has(each)) continue
      const isFree = await take(each)
      if (isFree === undefined) continue
      known.add(each)
      if (isFree) adopted.add(each)
      else
        lock(each, { signal }).then(
          (isOurs) => (isOurs ? adopt(new Set([each]), []) : undefined),
          () => {},
        )
    }
    if (adopted.size > 0) await adopt(adopted, names)
    nextLookAt = clock.now() + LOOK_SPACING_MS
  }

  /** Only what is listed when the locks are ours is all: an owner may have written until then. */
  async function adopt(owners: ReadonlySet<string>, before: readonly string[]): Promise<void> {
    const names = await listed()
    if (signal.aborted) return
    backlog.push(...(names.length > 0 ? names : before).filter((name) => owners.has(ownerOf(name))))
    onFound()
  }

  /** Removes a name as soon as that is possible. */
  async function remove(name: string, kept?: Promise<unknown>): Promise<void> {
    remains.add(name)
    if (disk.isStuck) return
    const removing = async () => {
      await kept
      await twice(() => storage.remove(name))
      remains.delete(name)
    }
    await disk.ask(removing, 'remove')
  }

  /** The storage answers: what was to be stored or removed meanwhile is. */
  function catchUp(): void {
    const messages = [...unkept]
    unkept.clear()
    messages.forEach(keep)
    for (const name of [...remains]) void remove(name)
    if (backlog.length > 0) onFound()
  }

  function keep(message: Message): void {
    if (owner === '' || disk.isStuck) {
      unkept.add(message)
      return
    }
    const name = `${prefix}${owner} ${stamp(count++)}`
    const write = async () => {
      await storage.write(name, writeRecord(message))
      message.isStored = true
      // It took so long that the message is over by now.
      if (message.isForgotten) await remove(name)
    }
    message.name = name
    message.kept = disk.ask(write, 'write')
  }

  return {
    get backlog() {
      // While the storage hangs, those that were sent here shall not wait for what it holds.
      return disk.isStuck ? 0 : backlog.length
    },
    get mayHoldOlder() {
      return hasOthers
    },
    async open() {
      const names = await listed()
      hasOthers = names.length > 0
      begin(names)
      // Before the lock, or what is sent right after the load of a page could end with it.
      catchUp()
      // Another tab may have been faster, and taken over what was stored just now: it is sent by both, with one key.
      while ((await take(owner)) === false && !signal.aborted) begin(names)
      await takeOver(names)
    },
    async look() {
      if (!locks || clock.now() < nextLookAt || signal.aborted || disk.isStuck) return
      nextLookAt = Number.POSITIVE_INFINITY
      await takeOver(await listed())
    },
    async peek() {
      const name = backlog[0] ?? ''
      const text = await disk.ask(() => twice(() => storage.read(name)), 'read', signal)
      if (text === null || text === undefined) return undefined
      const parts = readRecord(text, clock.now())
      if (parts && parts.bytes <= maxBytes) return { ...parts, name }
      onError(new Error(`Stored as ${name} is no message, or one above \`maxBytes\`: it was left there`))
      return undefined
    },
    skip() {
      backlog.shift()
    },
    keep,
    forget(message) {
      const { name, kept } = message
      message.isForgotten = true
      unkept.delete(message)
      if (name !== undefined) void remove(name, kept)
    },
    async close() {
      closing.abort()
      backlog = []
      unkept.clear()
      for (const name of [...remains]) void remove(name)
      await Promise.all([disk.over(), lockManager.over()])
      release()
    },
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
