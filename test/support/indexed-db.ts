type Handler = (() => void) | null

/** As much of IndexedDB as a store of texts needs, in memory: all that happens, happens later. */
export class IndexedDb {
  readonly databases = new Map<string, Map<string, unknown>>()
  readonly connections: { close(): void; onclose: Handler; onversionchange: Handler }[] = []
  /** What the next transaction ends with, in the place of what it did. */
  failure: Error | undefined
  opened = 0

  open(name: string) {
    this.opened++
    const isNew = !this.databases.has(name)
    const data = this.databases.get(name) ?? new Map<string, unknown>()
    this.databases.set(name, data)
    const database = {
      isClosed: false,
      onclose: null as Handler,
      onversionchange: null as Handler,
      createObjectStore() {},
      close() {
        database.isClosed = true
      },
      transaction: () => this.#transaction(data, database),
    }
    this.connections.push(database)
    const request = {
      result: database,
      error: null,
      onupgradeneeded: null as Handler,
      onsuccess: null as Handler,
      onerror: null as Handler,
    }
    queueMicrotask(() => {
      if (isNew) request.onupgradeneeded?.()
      request.onsuccess?.()
    })
    return request
  }

  #transaction(data: Map<string, unknown>, database: { readonly isClosed: boolean }) {
    if (database.isClosed) throw new Error('InvalidStateError')
    const { failure } = this
    this.failure = undefined
    const transaction = {
      error: failure ?? null,
      oncomplete: null as Handler,
      onabort: null as Handler,
      objectStore: () => ({
        getAllKeys: () => ({ result: [...data.keys()] }),
        get: (key: string) => ({ result: data.get(key) }),
        put: (value: unknown, key: string) => ({ result: failure ?? data.set(key, value) }),
        delete: (key: string) => ({ result: data.delete(key) }),
      }),
    }
    queueMicrotask(() => (failure ? transaction.onabort?.() : transaction.oncomplete?.()))
    return transaction
  }
}
