import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openTab } from './chromium.js'
import { closeStream, handed, newest, read, states } from './reading.js'
import { openSite } from './site.js'

test('across origins, a stream with CORS headers is read and resumed without a preflight', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  const headers = { 'access-control-allow-origin': '*' }
  await using site = await openSite({})
  await using other = await openSite({ '/events': sse(hub, { stream: () => 's', headers }) })
  await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await read(tab.page, `${other.url}/events`, { from: 'earliest' })
  await expect.poll(() => handed(tab.page)).toEqual(['one'])
  other.cut()
  await hub.publish('s', { data: 'two' })
  await expect.poll(() => handed(tab.page)).toEqual(['one', 'two'])
  expect(other.asked.map(({ method }) => method)).toEqual(['GET', 'GET'])
  expect(other.asked.map(({ url }) => url?.includes('lastEventId='))).toEqual([false, true])

  await hub.seal('s')
  await expect.poll(() => handed(tab.page)).toEqual(['one', 'two', 'the end'])
})

test('across origins, a stream without CORS headers is not read, and the client says what it knows', async ({
  skip,
}) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore() })
  await using site = await openSite({})
  await using other = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await tab.page.goto(site.url)
  await read(tab.page, `${other.url}/events`)
  // A page is not told why: to it, this is a network that fails.
  await expect
    .poll(() => newest(tab.page))
    .toMatchObject({ state: 'waiting', reason: 'the request failed (TypeError)' })
  expect(await handed(tab.page)).toEqual([])
})

test('over HTTP/1 a seventh stream of one origin has no connection: it says so, and opens when one is free', async ({
  skip,
}) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore() })
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await tab.page.goto(site.url)
  for (let i = 0; i < 6; i++) await read(tab.page, `/events?n=${i}`)
  await expect.poll(() => states(tab.page)).toEqual(Array.from({ length: 6 }, () => 'open'))

  await read(tab.page, '/events?n=6', { connectTimeoutMs: 1_000 })
  await expect
    .poll(() => newest(tab.page), { timeout: 30_000 })
    .toMatchObject({ state: 'waiting', reason: expect.stringContaining('no response head within') })
  expect(site.asked.length).toBe(6)
  await closeStream(tab.page, 0)
  await expect.poll(async () => (await states(tab.page))[6], { timeout: 45_000 }).toBe('open')
})
