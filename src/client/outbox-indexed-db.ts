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
  const fullName = `steady-sse/${named('name', name)}`
  /** Open from its first use until the browser closes it, and then opened again. */
  let opened: Promise<IDBDatabase> | undefined
  const forget = () => {
    opened = undefined
  }

  function open(): Promise<IDBDatabase> {
    return new Promise((resolve, reject) => {
      // `indexedDB` itself may be missing, or forbidden.
      const request = indexedDB.open(fullName, 1)
      request.onupgradeneeded = () => request.result.createObjectStore(MESSAGES)
      request.onerror = () => reject(request.error)
      request.onsuccess = () => {
        const database = request.result
        database.onclose = forget
        // Another tab wants to delete it, or has a newer version of it.
        database.onversionchange = () => {
          forget()
          database.close()
        }
        resolve(database)
      }
    })
  }

  /** Resolves when the transaction is complete: not before is anything kept. */
  async function run<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    opened ??= open()
    opened.catch(forget)
    const database = await opened
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(MESSAGES, mode)
      const request = ask(transaction.objectStore(MESSAGES))
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => reject(transaction.error)
    })
  }

  return {
    names: async () => (await run('readonly', (store) => store.getAllKeys())).map(String),
    async read(key) {
      const text: unknown = await run('readonly', (store) => store.get(key))
      return typeof text === 'string' ? text : null
    },
    async write(key, text) {
      await run('readwrite', (store) => store.put(text, key))
    },
    remove: (key) => run('readwrite', (store) => store.delete(key)),
  }
}
