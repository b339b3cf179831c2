import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { webStorage } from '../../src/client/outbox.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { Area } from '../support/area.js'
import { Locks } from '../support/locks.js'
import { type Answer, accepts, hangs, scene } from './outboxes.js'
import { settle } from './scripted.js'

/** The locks of a browser, which answer after a while. */
const LOCK_MS = 10

let clock: VirtualClock
let locks: Locks
let area: Area

beforeEach(() => {
  clock = virtualClock()
  locks = new Locks()
  area = new Area()
  const request = async (name: string, options: LockOptions, run: (lock: Lock | null) => unknown) => {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, LOCK_MS))
    return locks.request(name, options, run)
  }
  vi.stubGlobal('navigator', { locks: { request } })
})
afterEach(() => vi.unstubAllGlobals())

const tab = (answer: Answer) => scene(answer, { clock, storage: webStorage(area) })
const send = ({ outbox }: ReturnType<typeof tab>, ...texts: string[]) => {
  for (const text of texts) outbox.send(text).catch(() => {})
}

test('what a tab sent until it closed is found by one that was opening then, and in order', async () => {
  const one = tab(hangs)
  await clock.advance(100)
  send(one, 'm0')
  const two = tab(accepts)
  await clock.advance(LOCK_MS / 2)
  send(one, 'm1', 'm2')
  await one.outbox.close()
  await clock.advance(100)
  await two.outbox.idle()
  send(two, 'last')
  await settle()
  expect(two.bodies).toEqual(['m0', 'm1', 'm2', 'last'])
  expect(area.length).toBe(0)
  await two.outbox.close()
})

test('what was stored before its lock was held, and taken over by another tab, is sent by both with one key', async () => {
  const one = tab(hangs)
  const first = one.outbox.send('x')
  first.catch(() => {})
  await settle()
  expect(area.length).toBe(1)
  const [key = ''] = area.map.keys()
  // As if another tab had been faster.
  await locks.request(`steady-sse outbox ${key.slice('steady-sse/outbox/'.length, key.lastIndexOf(' '))}`, {}, () => {
    void clock.advance(100)
    return new Promise<void>((resolve) => clock.setTimeout(resolve, 50))
  })
  send(one, 'y')
  await settle()
  expect(one.bodies).toEqual(['x'])
  const owners = new Set([...area.map.keys()].map((name) => name.slice(0, name.lastIndexOf(' '))))
  expect(owners.size).toBe(2)
  await one.outbox.close()
  expect(clock.pending).toBe(0)
})

test('an older tab takes over from a newer one that has gone, when it has sent all of its own', async () => {
  const older = tab(accepts)
  await clock.advance(100)
  const newer = tab(hangs)
  await clock.advance(100)
  send(newer, 'from newer')
  await newer.outbox.close()
  await clock.advance(10_000)
  send(older, 'own')
  await clock.advance(100)
  expect(older.bodies).toEqual(['own', 'from newer'])
  expect(area.length).toBe(0)
  await older.outbox.close()
  await clock.advance(100)
  expect(locks.held).toBe(0)
})

test('an older tab that was seen meanwhile takes over when a newer one goes; it looks once in ten seconds', async () => {
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  vi.stubGlobal('document', page)
  const see = () => page.dispatchEvent(new Event('visibilitychange'))
  let looks = 0
  const storage = webStorage(area)
  const names = () => {
    looks++
    return storage.names()
  }
  const older = scene(accepts, { clock, storage: { ...storage, names } })
  await clock.advance(100)
  const newer = tab(hangs)
  await clock.advance(100)
  send(newer, 'x')
  await clock.advance(10_000)
  const before = looks
  for (let n = 0; n < 5; n++) see()
  page.visibilityState = 'hidden'
  await clock.advance(10_000)
  see()
  await settle()
  expect([looks - before, older.bodies]).toEqual([1, []])
  await newer.outbox.close()
  await clock.advance(100)
  expect(older.bodies).toEqual(['x'])
  await older.outbox.close()
  page.visibilityState = 'visible'
  const end = looks
  see()
  await settle()
  expect(looks).toBe(end)
})
