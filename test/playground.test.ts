import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { connect as openSocket } from 'node:net'
import { chromium, type Page } from 'playwright-core'
import { afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { type Playground, startPlayground } from '../playground/server.js'

const CHROMIUM = '/usr/bin/chromium'
const CLIENT = 'dist/browser/client.js'
const SHOTS = '.ci-artifacts'

let playground: Playground

beforeAll(() => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  if (!existsSync(CLIENT)) throw new Error(`${CLIENT} is not there: run \`npm run build\``)
})
beforeEach(async () => {
  playground = await startPlayground()
})
afterEach(() => playground.close())

describe('the server of the playground', () => {
  test.each([
    ['/', 'text/html; charset=utf-8', 'playground/public/index.html'],
    ['/style.css', 'text/css; charset=utf-8', 'playground/public/style.css'],
    ['/page.js', 'text/javascript; charset=utf-8', 'playground/public/page.js'],
    ['/steady-sse/client.js', 'text/javascript; charset=utf-8', CLIENT],
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

  test('a connection that is cut breaks off without a goodbye', async () => {
    const reader = await read('/events')
    const [, connection] = await reader.until(/"connection":"(\w+)"/)
    expect(await control(`cut?connection=${connection}`)).toEqual([200, 'The connection was cut.'])
    await expect(reader.until('stream:end')).rejects.toThrow('terminated')
    expect(await control(`cut?connection=${connection}`)).toEqual([200, 'There is no connection to cut.'])
  })

  test('a restarted store answers an old cursor with a gap epoch', async () => {
    const before = await read('/events?from=earliest')
    const [, cursor = ''] = await before.until(/"n":1,.*\nid: (.*)\n/)
    await control('restart')
    await before.until('"reason":"shutdown"')
    const after = await read('/events', { 'last-event-id': cursor })
    await after.until('event: stream:gap\ndata: {"reason":"epoch","missed":null}')
    await after.until('"n":1,')
    after.stop()
  })

  test('a sealed stream refuses what is published, until the store is restarted', async () => {
    const reader = await read('/events')
    await control('seal')
    await reader.until('"reason":"sealed"')
    expect(await control('publish')).toEqual([409, expect.stringContaining('sealed')])
    await control('restart')
    expect(await control('publish')).toEqual([200, 'Published one event.'])
  })

  test.each([
    ['GET', '/nowhere', 404],
    ['GET', '/control/restart', 405],
    ['POST', '/control/constructor', 404],
    ['POST', '/control/publish?count=-1', 200],
    ['POST', '/control/cut', 200],
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

test('the page shows events, a return without a loss, and the one gap of a restart', { timeout: 60_000 }, async ({
  skip,
}) => {
  if (!existsSync(CHROMIUM)) {
    if (process.env.CI) throw new Error(`${CHROMIUM} is not there`)
    skip(`${CHROMIUM} is not there`)
  }
  await using browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS })
  const page = await browser.newPage({ viewport: { width: 1180, height: 900 }, colorScheme: 'light' })
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  await page.goto(playground.url)
  await showing(page, { state: 'open', events: '1' })

  await page.getByRole('button', { name: 'Publish one' }).click()
  await page.locator('.list .event', { hasText: '#2' }).waitFor()

  await page.getByRole('button', { name: 'Cut the connection' }).click()
  await page.locator('.answer', { hasText: 'The connection was cut.' }).waitFor()
  await page.getByRole('button', { name: 'Publish 100' }).click()
  await showing(page, { state: 'open', attempt: '2', resumed: 'ok', events: '102', gaps: '0', lost: '0', twice: '0' })
  expect(await page.locator('.list li').first().textContent()).toMatch(/^#102.*replayed$/)

  await page.getByRole('button', { name: 'Restart the store' }).click()
  await showing(page, { state: 'open', attempt: '3', resumed: 'gap', events: '103', gaps: '1', lost: '0', twice: '0' })
  expect(await page.locator('.list .gap').allTextContents()).toEqual([expect.stringContaining('gap: epoch')])

  mkdirSync(SHOTS, { recursive: true })
  await shoot(page, 'light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await shoot(page, 'dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 844 })
  await shoot(page, 'narrow')

  await page.getByRole('button', { name: 'Seal' }).click()
  await showing(page, { state: 'closed', reason: 'the stream is sealed' })
  await page.getByRole('button', { name: 'Publish one' }).click()
  await page.locator('.answer.refused', { hasText: 'sealed' }).waitFor()
  await page.getByRole('button', { name: 'Connect again' }).click()
  await showing(page, { state: 'closed', reason: 'the server has nothing more (204)' })
  expect(faults).toEqual([])
})

const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Waits until the page shows all these facts. */
async function showing(page: Page, facts: Record<string, string>): Promise<void> {
  const read = () =>
    page.evaluate(
      (names) => names.map((name) => document.querySelector(`[data-fact="${name}"]`)?.textContent),
      Object.keys(facts),
    )
  await expect.poll(read, { timeout: 15_000, interval: 50 }).toEqual(Object.values(facts))
}

/** Takes a picture of the page, which must not be wider than its window. */
async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${SHOTS}/playground-${name}.png`, fullPage: true })
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0)
}

async function control(name: string): Promise<[number, string]> {
  const response = await fetch(`${playground.url}/control/${name}`, { method: 'POST' })
  const { text } = (await response.json()) as { text: string }
  return [response.status, text]
}

/** Reads a stream as bare text. */
async function read(path: string, headers: Record<string, string> = {}) {
  const controller = new AbortController()
  const response = await fetch(playground.url + path, { headers, signal: controller.signal })
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
