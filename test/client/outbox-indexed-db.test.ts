import { afterEach, expect, test, vi } from 'vitest'
import { indexedDbStorage } from '../../src/client/outbox.js'
import { IndexedDb } from '../support/indexed-db.js'
import { accepts, hangs, scene } from './outboxes.js'
import { settle } from './scripted.js'

afterEach(() => vi.unstubAllGlobals())

function browser(): IndexedDb {
  const indexedDB = new IndexedDb()
  vi.stubGlobal('indexedDB', indexedDB)
  return indexedDB
}

test('a database keeps texts under names, and is opened at first use, once', async () => {
  const { databases } = browser()
  const storage = indexedDbStorage('chat')
  expect(databases.size).toBe(0)
  await Promise.all([storage.write('a', '1'), storage.write('b', '2')])
  await storage.write('a', '3')
  await storage.remove('b')
  await storage.remove('nothing')
  expect([await storage.names(), await storage.read('a'), await storage.read('b')]).toEqual([['a'], '3', null])
  expect([...databases.keys()]).toEqual(['steady-sse/chat'])
})

test('what is not committed is not kept, and says so', async () => {
  const indexedDB = browser()
  const storage = indexedDbStorage()
  indexedDB.failure = new Error('QuotaExceededError')
  await expect(storage.write('a', '1')).rejects.toThrow('QuotaExceededError')
  expect(await storage.names()).toEqual([])
})

test('a database that the browser closes, or another tab wants, is opened again', async () => {
  const indexedDB = browser()
  const storage = indexedDbStorage()
  await storage.write('a', '1')
  indexedDB.connections[0]?.onversionchange?.()
  expect(await storage.read('a')).toBe('1')
  indexedDB.connections[1]?.onclose?.()
  expect(await storage.read('a')).toBe('1')
  expect(indexedDB.opened).toBe(3)
})

test('without a database a storage fails, and works when there is one', async () => {
  const storage = indexedDbStorage()
  await expect(storage.names()).rejects.toThrow()
  browser()
  expect(await storage.names()).toEqual([])
})

test('an outbox goes on from a database after a reload', async () => {
  browser()
  const before = scene(hangs, { storage: indexedDbStorage() })
  for (const text of ['a', 'b']) before.outbox.send(text).catch(() => {})
  await settle()
  await before.outbox.close()
  const after = scene(accepts, { storage: indexedDbStorage(), clock: before.clock })
  await after.outbox.idle()
  expect(after.bodies).toEqual(['a', 'b'])
  await after.outbox.close()
  expect(await indexedDbStorage().names()).toEqual([])
})

test('its name is checked', () => {
  expect(() => indexedDbStorage('')).toThrow(/`name`/)
})
