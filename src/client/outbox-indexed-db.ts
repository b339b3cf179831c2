import { named } from '../protocol/options.js'
import type { OutboxStorage } from './outbox-storage.js'

const MESSAGES = 'messages'

/**
 * Keeps messages in a database of the browser, where there is room for larger ones. The database is
 * opened at first use.
 *
 * @param name - tells the messages of one outbox from those of another. Default: `outbox`.
 * @throws TypeError when `name` is no string of 1 to 1024 characters.
 * @example
 * ```ts
 * const outbox = createOutbox('/messages', { storage: indexedDbStorage() })
 * ```
 */
export function indexedDbStorage(name = 'outbox'): OutboxStorage {
  const database = new Database(`steady-sse/${named('name', name)}`)
  return {
    names: async () => (await database.run('readonly', (store) => store.getAllKeys())).map(String),
    async read(key) {
      const text: unknown = await database.run('readonly', (store) => store.get(key))
      return typeof text === 'string' ? text : null
    },
    async write(key, text) {
      await database.run('readwrite', (store) => store.put(text, key))
    },
    async remove(key) {
      await database.run('readwrite', (store) => store.delete(key))
    },
  }
}

/** One database, open from its first use until the browser closes it, and then opened again. */
class Database {
  readonly #name: string
  #opened: Promise<IDBDatabase> | undefined

  constructor(name: string) {
    this.#name = name
  }

  /** Resolves when the transaction is complete: not before is anything kept. */
  async run<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await this.#open()
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(MESSAGES, mode)
      const request = ask(transaction.objectStore(MESSAGES))
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => reject(transaction.error ?? new Error('The transaction was aborted'))
    })
  }

  #open(): Promise<IDBDatabase> {
    this.#opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1)
      request.onupgradeneeded = () => request.result.createObjectStore(MESSAGES)
      request.onerror = () => {
        this.#opened = undefined
        reject(request.error ?? new Error('The database cannot be opened'))
      }
      request.onsuccess = () => {
        const database = request.result
        const forget = () => {
          this.#opened = undefined
        }
        database.onclose = forget
        // Another tab wants to delete it, or has a newer version of it.
        database.onversionchange = () => {
          forget()
          database.close()
        }
        resolve(database)
      }
    })
    // `indexedDB` itself may be missing, or forbidden.
    this.#opened.catch(() => {
      this.#opened = undefined
    })
    return this.#opened
  }
}
