import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { acknowledge, receive, sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openTab } from './chromium.js'
import { handed, newest, read } from './reading.js'
import { openSite, type Steady } from './site.js'

/** A server that asks for a minute before the next attempt: whoever is back before that was woken. */
function patientHub() {
  return createHub({ store: memoryStore(), retryMs: [60_000, 60_000] })
}

test('a browser that is online again ends the wait for the next attempt', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = patientHub()
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await read(tab.page, '/events', { from: 'earliest' })
  await expect.poll(() => handed(tab.page)).toEqual(['one'])

  await tab.context.setOffline(true)
  // A browser that goes offline may keep the connections it has.
  site.cut()
  await expect.poll(() => newest(tab.page)).toMatchObject({ state: 'waiting', delayMs: expect.any(Number) })
  expect((await newest(tab.page))?.delayMs).toBeGreaterThanOrEqual(60_000)
  await hub.publish('s', { data: 'two' })
  await tab.context.setOffline(false)
  await expect.poll(() => handed(tab.page), { timeout: 20_000 }).toEqual(['one', 'two'])
})

test('a page that is seen again ends the wait for the next attempt, and one that is hidden does not', async ({
  skip,
}) => {
  await using tab = await openTab(skip)
  await using hub = patientHub()
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await read(tab.page, '/events', { from: 'earliest' })
  await expect.poll(() => handed(tab.page)).toEqual(['one'])

  // A browser without windows has no hidden tabs, so the page is told what it would be told.
  const turn = (to: string) =>
    tab.page.evaluate((visibilityState) => {
      Object.defineProperty(document, 'visibilityState', { value: visibilityState, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }, to)
  site.cut()
  await expect.poll(() => newest(tab.page)).toMatchObject({ state: 'waiting' })
  await hub.publish('s', { data: 'two' })
  await turn('hidden')
  expect(await newest(tab.page)).toMatchObject({ state: 'waiting' })
  expect(site.asked.length).toBe(1)
  await turn('visible')
  await expect.poll(() => handed(tab.page), { timeout: 20_000 }).toEqual(['one', 'two'])
  expect(site.asked.length).toBe(2)
})

test('a page that comes back from the back-forward cache goes on where it was', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await read(tab.page, '/events', { from: 'earliest' })
  await expect.poll(() => handed(tab.page)).toEqual(['one'])

  await tab.page.goto(`${site.url}/other`)
  // While the page sleeps, its connection breaks, and the stream goes on.
  site.cut()
  await hub.publish('s', { data: 'two' })
  await tab.page.goBack({ waitUntil: 'commit' })
  // What it was handed before is still known, so it is the same page, and was not loaded again.
  await expect.poll(() => handed(tab.page), { timeout: 20_000 }).toEqual(['one', 'two'])
  await hub.publish('s', { data: 'three' })
  await expect.poll(() => handed(tab.page)).toEqual(['one', 'two', 'three'])
})

test('a page that goes away sends what is in its outbox, each message with its key', async ({ skip }) => {
  await using tab = await openTab(skip)
  const held: ServerResponse[] = []
  const arrived: string[] = []
  const take = receive(async ({ text }: { text: string }) => {
    arrived.push(text)
  })
  // Nobody is answered while the page is there.
  await using site = await openSite({
    '/messages': (request, response) => (held.length < 2 ? held.push(response) : take(request, response)),
  })
  await tab.page.goto(site.url)
  await tab.page.evaluate(() => {
    const outbox = (window as unknown as Steady).steady.createOutbox('/messages')
    for (const lane of ['a', 'b']) outbox.send({ text: lane }, { lane }).catch(() => {})
  })
  await expect.poll(() => held.length).toBe(2)
  await tab.page.goto('about:blank')
  await expect.poll(() => arrived.toSorted()).toEqual(['a', 'b'])
  const keys = site.asked.map(({ headers }) => headers['idempotency-key'])
  expect(new Set(keys).size).toBe(2)
  expect(keys.slice(2).toSorted()).toEqual(keys.slice(0, 2).toSorted())
})

test('a page that goes away acknowledges what it finished', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = patientHub()
  const bodies: string[] = []
  const take = acknowledge(hub)
  await using site = await openSite({
    '/events': sse(hub, { stream: () => 's' }),
    '/acks': (request, response) => {
      void once(request, 'data').then(([bytes]) => bodies.push(String(bytes)))
      take(request, response)
    },
  })
  await tab.page.goto(site.url)
  await read(tab.page, '/events', { acks: '/acks' })
  await expect.poll(() => newest(tab.page)).toMatchObject({ state: 'open' })
  // The first word goes out within a second, the next one a second later: this is handed over in between.
  await expect.poll(() => bodies.length, { timeout: 20_000 }).toBe(1)
  const { cursor } = await hub.publish('s', { data: 'one' })
  await expect.poll(() => handed(tab.page), { interval: 10 }).toEqual(['one'])
  await tab.page.goto('about:blank')
  await expect.poll(() => bodies.at(-1)).toContain(cursor)
})
