import { expect, named } from '../protocol/options.js'

/**
 * Where an outbox keeps its messages: names, each with a text. Each is asked once more when it rejects, but for
 * `write`. One that rejects again, or does not answer for five seconds, is reported to the outbox's `onError`: what
 * it was asked to keep may not survive the page, and what it did not tell of is overtaken by what is sent meanwhile.
 * When a storage that hung answers after all, the outbox makes up for what it could not store or remove.
 */
export interface OutboxStorage {
  /** All names under which something is kept, in any order. */
  names(): Promise<readonly string[]>
  /** What is kept under a name; `null` when there is nothing. */
  read(name: string): Promise<string | null>
  /** Keeps a text; when it resolves, the text survives the end of the page. */
  write(name: string, text: string): Promise<void>
  /** Forgets a name. To forget one that is not there is no error. */
  remove(name: string): Promise<void>
}

/** The part of the web's `Storage` that is used. */
export interface StorageArea {
  readonly length: number
  /** The key at a place; `null` behind the last. */
  key(index: number): string | null
  /** What stands under a key; `null` for nothing. */
  getItem(key: string): string | null
  /** Puts a value under a key. Throws when there is no room. */
  setItem(key: string, value: string): void
  /** Takes a key away. */
  removeItem(key: string): void
}

/**
 * Keeps messages in `localStorage`, which survives the browser, or in `sessionStorage`, which survives a reload of its tab.
 *
 * @param options.name - tells the messages of one outbox from those of another. Default: `outbox`.
 * @throws TypeError when `area` is no `Storage`.
 * @example
 * ```ts
 * const outbox = createOutbox('/messages', { storage: webStorage(localStorage) })
 * ```
 */
export function webStorage(area: StorageArea, options: { name?: string | undefined } = {}): OutboxStorage {
  expect(typeof area?.setItem === 'function', 'area', 'to be localStorage or sessionStorage', area)
  const prefix = `steady-sse/${named('name', options.name ?? 'outbox')}/`
  return {
    async names() {
      const keys = Array.from({ length: area.length }, (_, index) => area.key(index) ?? '')
      return keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length))
    },
    read: async (name) => area.getItem(prefix + name),
    write: async (name, text) => area.setItem(prefix + name, text),
    remove: async (name) => area.removeItem(prefix + name),
  }
}
