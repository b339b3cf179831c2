import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openTab } from './chromium.js'
import { openSite } from './site.js'

const NAMES = ['open', 'message', 'stream:gap', 'stream:end', 'stream:heartbeat', 'error']

/** Opens a native `EventSource` in the page, and notes all that it says. */
function listen(names: string[]): void {
  const source = new EventSource('/events?from=earliest')
  const heard: string[] = []
  Object.assign(window, { source, heard })
  for (const name of names) {
    source.addEventListener(name, (event) => {
      const { data } = event as MessageEvent
      heard.push(typeof data === 'string' ? `${name} ${data}` : name)
    })
  }
}

type Listening = Window & { heard: string[]; source: EventSource }

test('a native EventSource resumes where it was, and is told what a full store forgot meanwhile', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore({ maxEvents: 5 }), retryMs: [100, 100] })
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  const heard = () => tab.page.evaluate(() => (window as unknown as Listening).heard)
  await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await tab.page.evaluate(listen, NAMES)
  await expect.poll(heard).toEqual(['open', 'message one'])

  site.cut()
  await hub.publish('s', { data: 'two' })
  await expect.poll(heard).toEqual(['open', 'message one', 'error', 'open', 'message two'])
  expect(site.asked.at(-1)?.headers['last-event-id']).toMatch(/\S/)

  site.cut()
  await hub.publish(
    's',
    Array.from({ length: 8 }, (_, i) => ({ data: `${i}` })),
  )
  await expect.poll(heard).toContain('message 7')
  expect((await heard()).slice(5)).toEqual([
    'error',
    'open',
    'stream:gap {"reason":"expired","missed":3}',
    ...['3', '4', '5', '6', '7'].map((n) => `message ${n}`),
  ])
})

test('a native EventSource hears heartbeats that are events, and its place stays', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = createHub({
    store: memoryStore(),
    heartbeatMs: 100,
    heartbeatAs: 'event',
    retryMs: [100, 100],
  })
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  const heard = () => tab.page.evaluate(() => (window as unknown as Listening).heard)
  const { cursor } = await hub.publish('s', { data: 'one' })
  await tab.page.goto(site.url)
  await tab.page.evaluate(listen, NAMES)
  await expect
    .poll(async () => (await heard()).filter((what) => what.startsWith('stream:heartbeat')).length)
    .toBeGreaterThan(1)
  site.cut()
  await expect.poll(() => site.asked.length).toBe(2)
  expect(site.asked.at(-1)?.headers['last-event-id']).toBe(cursor)
  await hub.publish('s', { data: 'two' })
  await expect.poll(heard).toContain('message two')
  expect((await heard()).filter((what) => what.startsWith('message'))).toEqual(['message one', 'message two'])
})

test('a sealed stream is over for a native EventSource: it is answered 204, and asks no more', async ({ skip }) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's' }) })
  await hub.publish('s', { data: 'one' })
  await hub.seal('s')
  await tab.page.goto(site.url)
  await tab.page.evaluate(listen, NAMES)
  const state = () => tab.page.evaluate(() => (window as unknown as Listening).source.readyState)
  await expect.poll(state).toBe(2) // CLOSED
  expect(site.asked.length).toBe(2)
  expect(await tab.page.evaluate(() => (window as unknown as Listening).heard)).toEqual([
    'open',
    'message one',
    'stream:end {"reason":"sealed"}',
    'error',
    'error',
  ])
})
