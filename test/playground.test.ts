import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as openSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { type Playground, startPlayground } from '../playground/server.js'
import { inMemory, inSqlite } from '../playground/storage.js'
import { openTab } from './browser/chromium.js'

const CLIENT = 'dist/browser/client.js'
const SHOTS = '.ci-artifacts'
/** What a fault may take to show: deadlines of seconds, and waits with jitter, on a busy machine. */
const PATIENCE_MS = 45_000

beforeAll(() => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  if (!existsSync(CLIENT)) throw new Error(`${CLIENT} is not there: run \`npm run build\``)
})
describe('the server of the playground', () => {
  let playground: Playground
  beforeEach(async () => {
    playground = await start()
  })
  afterEach(() => playground.close())

  const control = (name: string) => ask(playground, name)
  const read = (target: string, headers?: Record<string, string>) => readBare(playground.url + target, headers)

  test.each([
    ['/', 'text/html; charset=utf-8', 'playground/public/index.html'],
    ['/style.css', 'text/css; charset=utf-8', 'playground/public/style.css'],
    ['/lane.js', 'text/javascript; charset=utf-8', 'playground/public/lane.js'],
    ['/steady-sse/client.js', 'text/javascript; charset=utf-8', CLIENT],
    ['/steady-sse/outbox.js', 'text/javascript; charset=utf-8', 'dist/browser/outbox.js'],
  ])('serves %s as %s', async (path, type, file) => {
    const response = await fetch(playground.url + path)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe(type)
    expect(await response.text()).toBe(readFileSync(file, 'utf8'))
  })

  test('what is published reaches a reader', async () => {
    const reader = await read('/events?from=earliest')
    await reader.until('"n":1,')
    expect(await control('publish?count=3')).toEqual([200, 'Published 3 events.'])
    await reader.until('"n":4,')
    reader.stop()
  })

  test('a path that is cut breaks a response off without a goodbye', async () => {
    const reader = await readBare(`${await pathOf(playground)}/events`)
    await reader.until('stream:ready')
    expect(await control('cut?path=0')).toEqual([200, expect.stringContaining('broke off')])
    await expect(reader.until('stream:end')).rejects.toThrow('terminated')
  })

  test('a restarted server answers an old cursor by its memory, or, when it forgot, with a gap', async () => {
    const before = await read('/events?from=earliest')
    const [, cursor = ''] = await before.until(/"n":1,.*\nid: (.*)\n/)
    await control('restart')
    await before.until('"reason":"shutdown"')
    const after = await read('/events', { 'last-event-id': cursor })
    await after.until('"resumed":"ok"')
    await control('restart?forget=1')
    await after.until('"reason":"shutdown"')
    const last = await read('/events', { 'last-event-id': cursor })
    await last.until('event: stream:gap\ndata: {"reason":"epoch","missed":null}')
    await last.until('"n":1,')
    last.stop()
  })

  test('a sealed stream refuses what is published, until the server forgets', async () => {
    const reader = await read('/events')
    await control('seal')
    await reader.until('"reason":"sealed"')
    expect(await control('publish')).toEqual([409, expect.stringContaining('sealed')])
    await control('restart?forget=1')
    expect(await control('publish')).toEqual([200, 'Published one event.'])
  })

  test('with --store sqlite, events and cursors outlast the process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'playground-'))
    const first = await start(inSqlite(folder))
    const before = await readBare(`${first.url}/events?from=earliest`)
    const [, cursor = ''] = await before.until(/"n":1,.*\nid: (.*)\n/)
    await first.close()
    const second = await start(inSqlite(folder))
    await ask(second, 'publish')
    const after = await readBare(`${second.url}/events`, { 'last-event-id': cursor })
    await after.until(/"resumed":"ok".*"n":2,/s)
    after.stop()
    await second.close()
    rmSync(folder, { recursive: true })
  })

  test.each([
    ['GET', '/nowhere', 404],
    ['GET', '/control/restart', 405],
    ['POST', '/control/constructor', 404],
    ['POST', '/control/publish?count=-1', 200],
    ['POST', '/control/cut', 200],
    ['POST', '/control/cut?path=9', 200],
    ['POST', '/control/path?path=0&fault=constructor', 200],
    ['POST', '/', 405],
    ['POST', '/events', 405],
    ['HEAD', '/events', 200],
    ['GET', '/events?from=never', 400],
    ['GET', '//[', 404],
    ['GET', '/%', 404],
    ['GET', '/../../package.json', 404],
  ])('%s %s is answered with %i', async (method, target, status) => {
    const { hostname, port } = new URL(playground.url)
    const socket = openSocket(Number(port), hostname)
    // Written by hand, for `fetch` would mend what is wrong.
    socket.end(`${method} ${target} HTTP/1.1\r\nhost: playground\r\nconnection: close\r\n\r\n`)
    let answer = ''
    for await (const bytes of socket) answer += bytes
    expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`)
  })
})

// Most of what is shown here is waiting, and so they wait together.
describe.concurrent('the page of the playground', { timeout: 120_000 }, () => {
  test('it shows events, a return without a loss, restarts, and the end', async ({ skip }) => {
    await using opened = await openPage(skip, { viewport: { width: 1180, height: 900 }, colorScheme: 'light' })
    const { page, first, second, errors } = opened
    await press(page, 'Publish one')
    for (const lane of [first, second]) await showing(lane, { state: 'streaming', handed: '2', acknowledged: '2' })

    await first.getByRole('button', { name: 'Cut' }).click()
    await showing(first, { state: 'waiting' })
    await press(page, 'Publish 100')
    await showing(first, { state: 'streaming', resumed: 'ok', handed: '102', gaps: '0', ...NOTHING_WRONG })
    await first.locator('.story', { hasText: 'Promise: ordered, once, or announced.' }).waitFor()

    await press(page, 'Restart')
    await page.locator('.answer', { hasText: 'came back with its memory' }).waitFor()
    await showing(second, { state: 'streaming', attempt: '2', resumed: 'ok', gaps: '0', ...NOTHING_WRONG })
    await showing(first, { state: 'streaming', attempt: '3' })
    await press(page, 'Restart and forget')
    for (const lane of [first, second]) {
      await showing(lane, { state: 'streaming', handed: '1', gaps: '1', ...NOTHING_WRONG })
      await lane.locator('.log .gap', { hasText: 'gap: epoch' }).waitFor({ state: 'attached' })
    }

    await page.getByRole('button', { name: 'Add a client' }).click()
    await showing(page.locator('.lane').nth(2), { state: 'streaming', handed: '1' })
    await shootAll(page)

    await press(page, 'Seal')
    await showing(first, { state: 'closed', reason: 'the stream is sealed' })
    await press(page, 'Publish one')
    await page.locator('.answer.refused', { hasText: 'sealed' }).waitFor()
    await first.getByRole('button', { name: 'Connect again' }).click()
    await showing(first, { state: 'closed', reason: 'the server has nothing more (204)' })
    expect(errors).toEqual([])
  })

  test('behind a buffering proxy a client polls, and streams again when it can', async ({ skip }) => {
    await using opened = await openPage(skip)
    const { page, first, second, errors } = opened
    await first.getByLabel('Buffering proxy').check()
    await showing(first, { state: 'polling', mode: 'poll' })
    await press(page, 'Publish 100')
    for (const lane of [first, second]) await showing(lane, { handed: '101', gaps: '0', ...NOTHING_WRONG })
    await showing(second, { state: 'streaming' })
    await first.getByLabel('Healthy').check()
    // Streaming is tried when a poll is over, and each event ends one.
    await page.getByLabel('An event every 3 seconds').check()
    await showing(first, { state: 'streaming', mode: 'stream', gaps: '0', ...NOTHING_WRONG })
    expect(errors).toEqual([])
  })

  test('a slow reader is told what it missed, and the other one misses nothing', async ({ skip }) => {
    await using opened = await openPage(skip)
    const { page, first, second, errors } = opened
    await first.getByLabel('Slow reader').check()
    await page.locator('.story', { hasText: 'Promise: bounded.' }).waitFor()
    await press(page, '1,000 large')
    await showing(second, { handed: '1001', gaps: '0', ...NOTHING_WRONG })
    await showing(first, { gaps: '1', ...NOTHING_WRONG })
    await first.locator('.log .gap', { hasText: /gap: expired.*\d+ events missing/ }).waitFor({ state: 'attached' })
    await first.getByLabel('Healthy').check()
    await showing(first, { handed: '1001', gaps: '1', ...NOTHING_WRONG })
    expect(errors).toEqual([])
  })

  test('a half-open link is noticed by its silence; a message whose answer it lost is handled once', async ({
    skip,
  }) => {
    await using opened = await openPage(skip)
    const { page, first, second, errors } = opened
    await first.getByLabel('Half-open').check()
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    // It arrived, as the other client shows, and nobody told its sender.
    await showing(second, { handed: '2' })
    await page.locator('.messages .waiting', { hasText: 'Hello' }).waitFor({ timeout: PATIENCE_MS })
    await page
      .locator('.log .state', { hasText: 'no byte for 6000 ms' })
      .waitFor({ timeout: PATIENCE_MS, state: 'attached' })
    await first.getByLabel('Healthy').check()
    await page.locator('.messages .accepted', { hasText: 'handled once' }).waitFor({ timeout: PATIENCE_MS })
    await showing(first, { state: 'streaming', handed: '2', gaps: '0', ...NOTHING_WRONG })
    await page.getByRole('button', { name: 'Send a bad one' }).click()
    await page.locator('.messages .failed', { hasText: 'rejected' }).waitFor()
    expect(await page.locator('.totals').textContent()).toMatch(/0 pending, 1 accepted,\s+1 rejected, 0 uncertain/)
    expect(errors).toEqual([])
  })

  test('a message that is not accepted yet survives a reload', async ({ skip }) => {
    await using opened = await openPage(skip)
    const { page, second, errors } = opened
    await page.getByLabel('Pause').check()
    await page.getByRole('button', { name: 'Send five' }).click()
    await until(async () => expect(await page.locator('.messages .queued').count()).toBe(5))
    await page.reload()
    await until(async () => expect(await page.locator('.messages .accepted').count()).toBe(5))
    await showing(second, { handed: '6', ...NOTHING_WRONG })
    expect(errors).toEqual([])
  })

  test('without heartbeats a quiet path is cut, and with them it stays', async ({ skip }) => {
    await using opened = await openPage(skip)
    const { page, first, errors } = opened
    await until(async () => expect(Number(await fact(first, 'heartbeats'))).toBeGreaterThan(1))
    await showing(first, { attempt: '1' })
    await page.getByLabel('Heartbeats').uncheck()
    await page.locator('.answer', { hasText: 'takes silence for death' }).waitFor()
    // The second attempt is for the restart, the third for the silence.
    await showing(first, { state: 'streaming', attempt: '3', resumed: 'ok', gaps: '0', ...NOTHING_WRONG })
    expect(errors).toEqual([])
  })

  test('every control is reached by the keyboard', async ({ skip }) => {
    await using opened = await openPage(skip)
    const { page, first, errors } = opened
    const seen = new Set<string>()
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab')
      seen.add(await page.evaluate(() => document.activeElement?.textContent?.trim() ?? ''))
    }
    expect([...seen]).toEqual(
      expect.arrayContaining(['Publish one', 'Restart and forget', 'Send', 'Cut', 'Add a client']),
    )
    await first.getByLabel('Healthy').focus()
    await page.keyboard.press('ArrowRight')
    await first.locator('.story', { hasText: 'Promise: bounded.' }).waitFor()
    expect(errors).toEqual([])
  })
})

/** What must never be anything else. */
const NOTHING_WRONG = { lost: '0', twice: '0' }

/** A playground of its own, and the page, with its two clients at work. */
async function openPage(skip: (reason: string) => void, options: BrowserContextOptions = {}) {
  const tab = await openTab(skip, options)
  const playground = await start()
  const { page, errors } = tab
  await page.goto(playground.url)
  const first = page.locator('.lane').nth(0)
  const second = page.locator('.lane').nth(1)
  for (const lane of [first, second]) await showing(lane, { state: 'streaming', handed: '1' })
  const close = async () => {
    await tab[Symbol.asyncDispose]()
    await playground.close()
  }
  return { page, first, second, errors, [Symbol.asyncDispose]: close }
}

async function press(page: Page, name: string): Promise<void> {
  await page.locator('.server').getByRole('button', { name, exact: true }).click()
}

/** Waits until the lane shows all these facts. */
async function showing(lane: Locator, facts: Record<string, string>): Promise<void> {
  const shown = async () =>
    Object.fromEntries(await Promise.all(Object.keys(facts).map(async (name) => [name, await fact(lane, name)])))
  await until(async () => expect(await shown()).toEqual(facts))
}

/** As `expect.poll`, which does not know whose it is where tests run side by side. */
function until(holds: () => Promise<void>): Promise<void> {
  return vi.waitFor(holds, { timeout: PATIENCE_MS, interval: 50 })
}

async function fact(lane: Locator, name: string): Promise<string | null> {
  return lane.locator(`[data-fact="${name}"]`).textContent()
}

/** Takes pictures of the page, which must not be wider than its window. */
async function shootAll(page: Page): Promise<void> {
  mkdirSync(SHOTS, { recursive: true })
  await shoot(page, 'light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await shoot(page, 'dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 844 })
  await shoot(page, 'narrow')
}

async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${SHOTS}/playground-${name}.png`, fullPage: true })
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0)
}

/** Nothing is published but what a test asks for. */
function start(storage = inMemory()): Promise<Playground> {
  return startPlayground({ storage, flowing: false })
}

async function ask(playground: Playground, control: string): Promise<[number, string]> {
  const response = await fetch(`${playground.url}/control/${control}`, { method: 'POST' })
  const { text } = (await response.json()) as { text: string }
  return [response.status, text]
}

/** The address of the first path, as the page is told it. */
async function pathOf(playground: Playground): Promise<string> {
  const reader = await readBare(`${playground.url}/status`)
  const [, port] = await reader.until(/"paths":\[\{"port":(\d+)/)
  reader.stop()
  return `http://127.0.0.1:${port}`
}

/** Reads a stream as bare text. */
async function readBare(url: string, headers: Record<string, string> = {}) {
  const controller = new AbortController()
  const response = await fetch(url, { headers, signal: controller.signal })
  const body = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    stop: () => controller.abort(),
    /** Reads on until the text so far holds what is sought. */
    async until(sought: string | RegExp): Promise<string[]> {
      for (;;) {
        const found = typeof sought === 'string' ? (text.includes(sought) ? [sought] : null) : sought.exec(text)
        if (found) return found
        const { done, value = '' } = (await body?.read()) ?? { done: true }
        if (done) throw new Error(`The stream ended without ${sought}:\n${text}`)
        text += value
      }
    },
  }
}
