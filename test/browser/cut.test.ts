import { once } from 'node:events'
import { connect as openSocket } from 'node:net'
import { expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { openTab } from './chromium.js'
import { openCutter, openSite, type Steady } from './site.js'

const texts = Array.from({ length: 6 }, (_, i) => `event ${i} é`)
/** A browser has six connections for one origin, so there are several origins. */
const CONNECTIONS = 6

/** In the page: reads the stream once for each place of a cut, and returns what each reading was handed. */
async function readAll([origins, places, atOnce]: [string[], number, number]): Promise<[number, string[]][]> {
  const { connect } = (window as unknown as Steady).steady
  const results: [number, string[]][] = []
  // Twenty times as fast as the real one: it is the bytes that are looked at here, and not the waits.
  const clock = {
    now: () => 20 * performance.now(),
    setTimeout(act: () => void, ms: number) {
      const timer = setTimeout(act, ms / 20)
      return () => clearTimeout(timer)
    },
  }
  const options = { clock, connectTimeoutMs: 400_000 }
  async function work(origin: string, first: number): Promise<void> {
    for (let cut = first; cut <= places; cut += origins.length * atOnce) {
      const got: string[] = []
      for await (const item of connect(`${origin}/events?from=earliest&cut=${cut}`, options)) {
        got.push(item.type === 'event' ? item.data : `gap ${item.reason}`)
      }
      results.push([cut, got])
    }
  }
  const works = Array.from({ length: origins.length * atOnce }, (_, i) =>
    work(origins[i % origins.length] ?? '', i + 1),
  )
  await Promise.all(works)
  return results
}

test('in a browser, a stream that is cut at every byte, head included, is handed over once and in order', async ({
  skip,
}) => {
  await using tab = await openTab(skip)
  await using hub = createHub({ store: memoryStore(), retryMs: [100, 100] })
  const headers = { 'access-control-allow-origin': '*' }
  await using site = await openSite({ '/events': sse(hub, { stream: () => 's', headers }) })
  await hub.publish(
    's',
    texts.map((data) => ({ data })),
  )
  await hub.seal('s')
  await using first = await openCutter(site.port)
  await using second = await openCutter(site.port)
  await using third = await openCutter(site.port)
  const origins = [first, second, third]
  const length = await lengthOf(site.port)
  await tab.page.goto(site.url)
  const urls = origins.map(({ url }) => url)
  const results = await tab.page.evaluate(readAll, [urls, length, CONNECTIONS] as [string[], number, number])
  expect(origins.reduce((sum, { cuts }) => sum + cuts, 0)).toBe(length)
  expect(results.length).toBe(length)
  for (const [cut, got] of results) expect(got, `cut after ${cut} bytes`).toEqual(texts)
  expect(tab.errors).toEqual([])
})

/** How many bytes the whole response has, its head included. */
async function lengthOf(port: number): Promise<number> {
  const socket = openSocket(port, '127.0.0.1')
  socket.write('GET /events?from=earliest HTTP/1.1\r\nhost: site\r\nconnection: close\r\n\r\n')
  let length = 0
  socket.on('data', (bytes) => {
    length += bytes.length
  })
  await once(socket, 'end')
  socket.destroy()
  return length
}
