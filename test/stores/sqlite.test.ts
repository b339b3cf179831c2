import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import Database from 'libsql'
import { describe, expect, test } from 'vitest'
import { sse } from '../../src/adapters/web.js'
import { connect } from '../../src/client/index.js'
import { systemClock } from '../../src/protocol/clock.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { type SqliteStoreOptions, sqliteSchema, sqliteStore } from '../../src/stores/sqlite.js'
import { simulate } from '../../src/testing/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { turns } from '../support/turns.js'
import { numbers } from '../support/world.js'
import { type OpenDatabase, type OpenFile, SqliteFile } from './sqlite-file.js'

const event = (data: string, key?: string) => ({ event: undefined, data, key })

/** A file, and a hub on it in virtual time. */
function setUp(options: Omit<SqliteStoreOptions, 'db'> = {}) {
  const file = new SqliteFile()
  const clock = virtualClock()
  const store = file.store({ synchronous: 'normal', ...options })
  const hub = createHub({ store, clock, maxStreams: 3 })
  return {
    file,
    clock,
    store,
    hub,
    async [Symbol.asyncDispose]() {
      await hub.close()
      file[Symbol.dispose]()
    },
  }
}

async function kept(hub: Hub, stream = 's'): Promise<string[]> {
  const { items } = await hub.read(stream, { limit: Number.POSITIVE_INFINITY })
  return items.map((item) => (item.type === 'event' ? item.data : item.reason))
}

async function failure(promise: unknown): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    return error
  }
}

/** What is looked after in steps takes some turns. */
async function tended(isDone: () => boolean | Promise<boolean>): Promise<void> {
  for (let n = 0; n < 200 && !(await isDone()); n++) await turns()
}

/** Another process on the file. */
async function process(file: SqliteFile) {
  const child: ChildProcess = spawn(
    globalThis.process.execPath,
    ['--import', 'tsx', 'test/stores/sqlite-process.ts', file.path],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const gone = once(child, 'exit')
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('Expected a process with pipes.')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  await lines.next()
  return {
    gone,
    send: (...command: string[]) => stdin.write(`${JSON.stringify(command)}\n`),
    async ask(...command: string[]): Promise<unknown> {
      this.send(...command)
      const { value } = await lines.next()
      const { answer, error } = JSON.parse(value) as { answer?: unknown; error?: string }
      if (error !== undefined) throw new Error(error)
      return answer
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

describe('retention', () => {
  test('maxEvents keeps the newest, and up to an eighth more', async () => {
    await using it = setUp({ maxEvents: 100 })
    for (let n = 1; n <= 400; n++) await it.hub.publish('s', { data: String(n) })
    const data = await kept(it.hub)
    expect(data.length).toBeGreaterThanOrEqual(100)
    expect(data.length).toBeLessThanOrEqual(112)
    expect(data).toEqual(numbers(401 - data.length, 400))
  })

  test('a large batch is trimmed in steps, until no more than the bound is left', async () => {
    await using it = setUp({ maxEvents: 10 })
    await it.store.append(
      's',
      numbers(1, 2_000).map((data) => event(data)),
    )
    for (let n = 2_001; n <= 2_010; n++) await it.hub.publish('s', { data: String(n) })
    expect(await kept(it.hub)).toEqual(numbers(2_001, 2_010))
  })

  test('maxBytes keeps the newest, counted in bytes of UTF-8', async () => {
    await using it = setUp({ maxBytes: 1_000 })
    for (let n = 0; n < 10; n++) await it.hub.publish('s', { data: String(n).padEnd(100) })
    expect(await kept(it.hub)).toHaveLength(10)
    await it.hub.publish('s', { data: 'ä'.repeat(50) })
    expect(await kept(it.hub)).toHaveLength(10)
  })

  test('what is old is deleted from the file though nobody asks, and what nobody uses is forgotten', async () => {
    await using it = setUp({ maxAgeMs: 60_000, idleTtlMs: 600_000 })
    const db = it.file.connect()
    const count = (table: string) =>
      (db.prepare(`SELECT count(*) AS n FROM steady_${table}`).all()[0] as { n: number }).n
    for (let n = 0; n < 3; n++) {
      await it.store.append(
        `s${n}`,
        numbers(1, 300).map((data) => event(data)),
      )
    }
    expect([count('streams'), count('events')]).toEqual([3, 900])
    await it.clock.advance(80_000)
    await tended(() => count('events') === 0)
    expect([count('streams'), count('events')]).toEqual([3, 0])
    await it.clock.advance(680_000)
    await tended(() => count('streams') === 0)
    expect(count('streams')).toBe(0)
  })

  test('a sealed stream is forgotten after sealedTtlMs, with its events', async () => {
    const clock = virtualClock()
    using file = new SqliteFile()
    const store = file.store({ maxAgeMs: 1e9 })
    const release = store.attach?.({ clock, maxStreams: 10, sealedTtlMs: 60_000 })
    await store.append(
      's',
      numbers(1, 1_000).map((data) => event(data)),
    )
    await store.seal('s')
    await clock.advance(40_000)
    expect(await store.read('s', 0, { limit: 1 })).toMatchObject({ head: 1_000, sealed: true })
    await clock.advance(60_000)
    await tended(async () => (await store.read('s', 0, { limit: 0 })) === null)
    expect(await store.read('s', 0, { limit: 1 })).toBeNull()
    const db = file.connect()
    const count = () => (db.prepare('SELECT count(*) AS n FROM steady_events').all()[0] as { n: number }).n
    await clock.advance(15_000)
    await tended(() => count() === 0)
    expect(db.prepare('SELECT count(*) AS n FROM steady_events').all()).toMatchObject([{ n: 0 }])
    release?.()
  })

  test('beyond maxStreams the one that was longest unused goes, but never one that is read; then it is OVERLOADED', async () => {
    await using it = setUp()
    const reader = await it.hub.subscribe('read')
    for (const stream of ['a', 'b', 'c']) await it.hub.publish(stream, { data: '1' })
    expect(await it.store.read('a', 0, { limit: 0 })).toBeNull()
    const [one, two] = [await it.hub.subscribe('b'), await it.hub.subscribe('c')]
    await expect(it.hub.publish('d', { data: '1' })).rejects.toMatchObject({ code: 'OVERLOADED' })
    for (const each of [reader, one, two]) await each.return?.()
  })
})

test('appends of one turn are one transaction, and each fails or succeeds by itself', async () => {
  using file = new SqliteFile()
  const begun: string[] = []
  const store = file.store({}, (db) => ({
    get inTransaction() {
      return db.inTransaction ?? false
    },
    prepare: (sql) => db.prepare(sql),
    exec(sql) {
      if (sql === 'BEGIN IMMEDIATE') begun.push(sql)
      return db.exec(sql)
    },
    close: () => db.close(),
  }))
  await store.seal('sealed')
  begun.length = 0
  const results = await Promise.allSettled([
    store.append('a', [event('1')]),
    store.append('sealed', [event('1')]),
    store.append('b', [event('1')]),
    store.append('a', [event('2')]),
  ])
  expect(begun).toHaveLength(1)
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  expect(results[1]).toMatchObject({ reason: { code: 'SEALED' } })
  expect(await store.read('a', 0, { limit: 9 })).toMatchObject({ head: 2, events: [{ data: '1' }, { data: '2' }] })
  begun.length = 0
  // One that the driver refuses fails neither those before it nor those after.
  const wrong = { ...event('x'), event: Symbol('no text') as unknown as string }
  const mixed = await Promise.allSettled([store.append('a', [event('3'), wrong]), store.append('a', [event('4')])])
  expect(mixed.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  expect(await store.read('a', 2, { limit: 9 })).toMatchObject({ head: 3, events: [{ data: '4' }] })
})

test('an append that was aborted before its turn is not stored', async () => {
  using file = new SqliteFile()
  const store = file.store()
  const controller = new AbortController()
  const append = store.append('s', [event('1')], { signal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(append).rejects.toThrow('enough')
  expect(await store.read('s', 0, { limit: 1 })).toBeNull()
})

describe('what goes wrong is told, and nothing is half stored', () => {
  test('a disk that is full', async () => {
    using file = new SqliteFile()
    const db = file.connect()
    const store = sqliteStore({ db })
    await store.append('s', [event('1')])
    db.exec('PRAGMA max_page_count = 40')
    const error = await failure(store.append('s', [event('2'), event('x'.repeat(1_000_000))]))
    expect(String(error)).toContain('full')
    expect(await store.read('s', 0, { limit: 9 })).toMatchObject({ head: 1, events: [{ data: '1' }] })
    db.exec('PRAGMA max_page_count = 1000000')
    expect(await store.append('s', [event('2')])).toMatchObject([{ offset: 2 }])
  })

  test('a file that is no database', async () => {
    using file = new SqliteFile()
    writeFileSync(file.path, 'no database at all, '.repeat(1_000))
    await using hub = createHub({ store: file.store() })
    await expect(hub.publish('s', { data: '1' })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(hub.subscribe('s')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('a database that is closed', async () => {
    using file = new SqliteFile()
    const db = new Database(file.path)
    await using hub = createHub({ store: sqliteStore({ db }) })
    await hub.publish('s', { data: '1' })
    db.close()
    await expect(hub.publish('s', { data: '2' })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('tables that are dropped are made again: the stream is another incarnation', async () => {
    using file = new SqliteFile()
    const store = file.store()
    const [before] = await store.append('s', [event('1')])
    file.connect().exec('DROP TABLE steady_streams; DROP TABLE steady_events')
    const [after] = await store.append('s', [event('anew')])
    expect(after).toMatchObject({ offset: 1 })
    expect(after?.epoch).not.toBe(before?.epoch)
    expect(await store.read('s', 0, { limit: 9 })).toMatchObject({ events: [{ data: 'anew' }] })
  })
})

describe('a transaction of the user on the same connection', () => {
  test('is never joined: an append waits for its end, and its rollback takes nothing with it', async () => {
    using file = new SqliteFile()
    const clock = virtualClock()
    const db = file.connect()
    const store = sqliteStore({ db, clock })
    await store.append('s', [event('1')])
    db.exec('CREATE TABLE mine (a)')
    db.exec('BEGIN')
    db.exec('INSERT INTO mine VALUES (1)')
    const append = store.append('s', [event('2')])
    await clock.advance(1_000)
    expect(await store.read('s', 0, { limit: 0 })).toMatchObject({ head: 1 })
    db.exec('ROLLBACK')
    await clock.advance(100)
    expect(await append).toMatchObject([{ offset: 2 }])
    expect(db.prepare('SELECT count(*) AS n FROM mine').all()).toMatchObject([{ n: 0 }])
    expect(clock.pending).toBe(0)
  })

  test('that does not end within lockTimeoutMs makes the append fail', async () => {
    using file = new SqliteFile()
    const clock = virtualClock()
    const db = file.connect()
    const store = sqliteStore({ db, clock, lockTimeoutMs: 500 })
    await store.migrate()
    db.exec('BEGIN')
    const append = failure(store.append('s', [event('1')]))
    await clock.advance(1_000)
    expect(String(await append)).toContain('transaction')
    db.exec('ROLLBACK')
    expect(await store.read('s', 0, { limit: 0 })).toBeNull()
  })

  test('is nothing to publish in, and the error says what to do', async () => {
    using file = new SqliteFile()
    await expect(file.store().append('s', [event('1')], { transaction: {} })).rejects.toThrow(/`transaction`.*`commit`/)
  })
})

describe('receipts', () => {
  test('an effect that returns a promise is refused, and what it wrote by then is rolled back', async () => {
    using file = new SqliteFile()
    const store = file.store()
    const outside = file.connect()
    outside.exec('CREATE TABLE effects (text)')
    const claim = await store.receipts.claim('', 'k', 'print', 60_000)
    if (claim.state !== 'claimed') throw new Error(claim.state)
    const commit = store.receipts.commit?.(claim.lease, '1', async (db) => {
      db.prepare('INSERT INTO effects VALUES (?)').run('early')
    })
    await expect(commit).rejects.toThrow(TypeError)
    expect(outside.prepare('SELECT * FROM effects').all()).toEqual([])
    expect(await store.receipts.claim('', 'k', 'print', 60_000)).toMatchObject({ state: 'busy' })
  })

  test('what is over is deleted as others are claimed', async () => {
    using file = new SqliteFile()
    const clock = virtualClock()
    const { receipts } = file.store({ clock, receiptTtlMs: 1_000 })
    const finish = async (key: string) => {
      const claim = await receipts.claim('', key, 'print', 1_000)
      if (claim.state === 'claimed') await receipts.complete(claim.lease, '1')
    }
    for (let n = 0; n < 40; n++) await finish(`old ${n}`)
    await clock.advance(1_000)
    for (let n = 0; n < 5; n++) await finish(`new ${n}`)
    const db = file.connect()
    expect(db.prepare('SELECT count(*) AS n FROM steady_receipts').all()).toMatchObject([{ n: 5 }])
    expect(db.prepare('SELECT count AS n FROM steady_counts').all()).toMatchObject([{ n: 5 }])
  })
})

describe('several processes', () => {
  test('what another process publishes is handed to readers here, soon', async () => {
    using file = new SqliteFile()
    await using hub = createHub({ store: file.store() })
    await using other = await process(file)
    const reader = await hub.subscribe('s')
    const delays: number[] = []
    for (let n = 1; n <= 10; n++) {
      other.send('append', 's', String(n))
      const from = systemClock.now()
      expect((await reader.next()).value).toMatchObject({ type: 'event', data: String(n) })
      delays.push(systemClock.now() - from)
    }
    // With the append itself. A poll of the hub, the safety net, would take a second.
    expect(Math.min(...delays)).toBeLessThan(500)
    await reader.return?.()
  })

  test('a process that is killed right after its append has told nobody, and is heard all the same', async () => {
    using file = new SqliteFile()
    await using hub = createHub({ store: file.store() })
    await using other = await process(file)
    const reader = await hub.subscribe('s')
    other.send('appendAndDie', 's', 'last words')
    expect((await reader.next()).value).toMatchObject({ type: 'event', data: 'last words' })
    await other.gone
    await hub.publish('s', { data: 'and on' })
    expect((await reader.next()).value).toMatchObject({ type: 'event', data: 'and on' })
    await reader.return?.()
  })

  test('a process that is killed within an effect leaves nothing, and its key is free when the lease is over', async () => {
    using file = new SqliteFile()
    const { receipts } = file.store()
    const outside = file.connect()
    outside.exec('CREATE TABLE effects (text)')
    await using other = await process(file)
    other.send('dieWithinEffect', 'k')
    await other.gone
    expect(outside.prepare('SELECT * FROM effects').all()).toEqual([])
    let claim = await receipts.claim('', 'k', 'print', 60_000)
    while (claim.state === 'busy') {
      await new Promise<void>((go) => systemClock.setTimeout(go, 20))
      claim = await receipts.claim('', 'k', 'print', 60_000)
    }
    if (claim.state !== 'claimed') throw new Error(claim.state)
    expect(await receipts.commit?.(claim.lease, '1', (db) => void db.exec("INSERT INTO effects VALUES ('ours')"))).toBe(
      true,
    )
    expect(outside.prepare('SELECT text FROM effects').all()).toMatchObject([{ text: 'ours' }])
  })

  test('while another process holds the write lock the event loop turns, reads are answered, and appends wait', async () => {
    using file = new SqliteFile()
    const db = file.connect()
    const store = sqliteStore({ db })
    await store.append('s', [event('1')])
    await using other = await process(file)
    await other.ask('lock')
    let isStored = false
    const append = Promise.resolve(store.append('s', [event('2')])).then(() => {
      isStored = true
    })
    // What a statement may wait at most: SQLite sleeps in the event loop's thread meanwhile.
    expect(Object.values((db.prepare('PRAGMA busy_timeout').all() as object[])[0] ?? {})[0]).toBeLessThanOrEqual(10)
    let ticks = 0
    const until = systemClock.now() + 500
    while (systemClock.now() < until) {
      await new Promise<void>((go) => systemClock.setTimeout(go, 1))
      ticks++
    }
    // Blocked for the 500 ms, it would be one.
    expect(ticks).toBeGreaterThan(10)
    expect(isStored).toBe(false)
    expect(await store.read('s', 0, { limit: 9 })).toMatchObject({ head: 1 })
    await other.ask('unlock')
    await append
    expect(await store.read('s', 0, { limit: 9 })).toMatchObject({ head: 2 })
  })

  test('nobody watches, nobody looks: the timer lives as long as a reader', async () => {
    using file = new SqliteFile()
    const clock = virtualClock()
    const store = file.store({ clock })
    await store.open('s')
    expect(clock.pending).toBe(0)
    const [one, two] = [await store.watch('s', () => {}), await store.watch('t', () => {})]
    expect(clock.pending).toBe(1)
    one()
    expect(clock.pending).toBe(1)
    two()
    expect(clock.pending).toBe(0)
  })

  test('two stores on one connection hear each other', async () => {
    using file = new SqliteFile()
    const db = file.connect()
    const clock = virtualClock()
    const [one, two] = [sqliteStore({ db, clock }), sqliteStore({ db, clock })]
    let hints = 0
    const unwatch = await one.watch('s', () => hints++)
    await two.append('s', [event('1')])
    await turns()
    expect(hints).toBe(1)
    unwatch()
  })
})

test('a restored older copy: the client is told by a gap `diverged`, through a hub', async () => {
  await using it = setUp()
  await it.hub.publish('s', { data: '1' })
  const restore = it.file.snapshot()
  await it.hub.publish('s', { data: '2' })
  const { cursor } = await it.hub.publish('s', { data: '3' })
  restore()
  await it.hub.publish('s', { data: 'another 2' })
  await it.hub.publish('s', { data: 'another 3' })
  await it.hub.publish('s', { data: 'another 4' })
  const { clock } = it
  const handler = sse(it.hub, { stream: () => 's' })
  await using client = connect('http://x.test/', { cursor, clock, fetch: simulate(handler, { clock, faults: [] }) })
  const items = client[Symbol.asyncIterator]()
  expect((await items.next()).value).toMatchObject({ type: 'gap', reason: 'diverged', missed: null })
  await it.hub.publish('s', { data: 'next' })
  expect((await items.next()).value).toMatchObject({ type: 'event', data: 'next' })
})

test('a power loss takes nothing that was confirmed, unless that was chosen', async () => {
  for (const [options, level] of [
    [{}, 2],
    [{ synchronous: 'normal' }, 1],
  ] as const) {
    using file = new SqliteFile()
    const db = file.connect()
    await sqliteStore({ db, ...options }).migrate()
    expect(db.prepare('PRAGMA synchronous').all()).toMatchObject([{ synchronous: level }])
    expect(db.prepare('PRAGMA journal_mode').all()).toMatchObject([{ journal_mode: 'wal' }])
  }
})

test('migrate and the printed schema make the same tables, any number of times, under any prefix', async () => {
  using file = new SqliteFile()
  const db = file.connect()
  for (let n = 0; n < 2; n++) db.exec(sqliteSchema({ prefix: 'other_' }))
  const store = sqliteStore({ db, prefix: 'other_' })
  for (let n = 0; n < 2; n++) await store.migrate()
  await store.append('s', [event('1')])
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all()
  expect(tables.map((row) => (row as { name: string }).name)).toEqual([
    'other_counts',
    'other_events',
    'other_receipts',
    'other_streams',
  ])
})

test('appends of one turn are at least a quarter as fast as the best loop of the driver alone', async () => {
  using file = new SqliteFile()
  const [rounds, each, data] = [40, 100, 'x'.repeat(200)]
  const db = file.connect()
  const store = sqliteStore({ db, synchronous: 'normal' })
  await store.open('s')
  db.exec('CREATE TABLE raw (stream INTEGER, off INTEGER, tag INTEGER, data, PRIMARY KEY (stream, off)) WITHOUT ROWID')
  const insert = db.prepare('INSERT INTO raw VALUES (1, ?, 123456789, ?)')
  const times = { raw: Number.POSITIVE_INFINITY, own: Number.POSITIVE_INFINITY }
  // The best of each: whatever else runs on the machine can only make it slower.
  for (let round = 0; round < rounds; round++) {
    let from = systemClock.now()
    db.exec('BEGIN IMMEDIATE')
    for (let n = 0; n < each; n++) insert.run(round * each + n, data)
    db.exec('COMMIT')
    times.raw = Math.min(times.raw, systemClock.now() - from)
    from = systemClock.now()
    await Promise.all(Array.from({ length: each }, () => store.append('s', [event(data)])))
    times.own = Math.min(times.own, systemClock.now() - from)
  }
  expect(times.raw / times.own).toBeGreaterThan(0.2)
})

test('names and keys may hold anything, and stay apart', async () => {
  using file = new SqliteFile()
  const store = file.store()
  const names = ['a', 'a\0', 'a\0b', '"a"', '"a\\u0000"', '\ud800', '\ufffd', 'ä😀', "'; --", 'x'.repeat(1_024)]
  for (const name of names) {
    for (const key of names) await store.append(name, [event(`${name}|${key}`, key)])
    expect(await store.read(name, 0, { limit: 0 })).toMatchObject({ head: names.length })
    expect(await store.append(name, [event('again', names[2])])).toMatchObject([{ duplicate: true, offset: 3 }])
  }
})

test.each<[Omit<SqliteStoreOptions, 'db'>, string]>([
  [{ maxEvents: 0 }, 'maxEvents'],
  [{ maxBytes: 1.5 }, 'maxBytes'],
  [{ maxAgeMs: 0 }, 'maxAgeMs'],
  [{ idleTtlMs: -1 }, 'idleTtlMs'],
  [{ lockTimeoutMs: 0 }, 'lockTimeoutMs'],
  [{ receiptTtlMs: 0 }, 'receiptTtlMs'],
  [{ maxReceipts: 0 }, 'maxReceipts'],
  [{ prefix: 'no-name' }, 'prefix'],
  [{ synchronous: 'off' as 'full' }, 'synchronous'],
])('the options %j are refused', (options, name) => {
  using file = new SqliteFile()
  expect(() => file.store(options)).toThrow(TypeError)
  expect(() => file.store(options)).toThrow(`\`${name}\``)
  expect(() => sqliteStore({ ...options, db: undefined as unknown as OpenDatabase })).toThrow('`db`')
})

test('node:sqlite is a driver, too', async ({ skip }) => {
  const open = nodeSqlite()
  // CI runs this file on Node 20, too, which has no node:sqlite: that is not a part that is missing on the machine.
  if (!open) return skip('this Node has no node:sqlite')
  using file = new SqliteFile(open)
  const store = file.store()
  await store.append('s', [event('1'), event('a\0b', 'key')])
  expect(await store.append('s', [event('again', 'key')])).toMatchObject([{ duplicate: true, offset: 2 }])
  expect(await store.read('s', 0, { limit: 9 })).toMatchObject({ head: 2, events: [{ data: '1' }, { data: 'a\0b' }] })
})

function nodeSqlite(): OpenFile | undefined {
  try {
    const { DatabaseSync } = createRequire(import.meta.url)('node:sqlite') as {
      DatabaseSync: new (path: string) => OpenDatabase
    }
    return (path) => new DatabaseSync(path)
  } catch {
    return undefined
  }
}
