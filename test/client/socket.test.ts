import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { connect, type EventStream } from '../../src/client/connect.js'
import { systemClock } from '../../src/protocol/clock.js'
import { end, event, ready, settle } from './scripted.js'

/** Real time, a hundred times faster where the client waits for another attempt. */
const hasty = {
  now: systemClock.now,
  setTimeout: (run: () => void, ms: number) => systemClock.setTimeout(run, ms > 5_000 ? ms : ms / 100),
}

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function serve(handle: (req: IncomingMessage, res: ServerResponse, number: number) => void): Promise<string> {
  let number = 0
  const server = createServer((req, res) => handle(req, res, ++number))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

function open(res: ServerResponse, text: string): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  res.write(text)
}

async function texts(stream: EventStream): Promise<string[]> {
  const all: string[] = []
  for await (const item of stream) all.push(item.type === 'event' ? item.data : `[${item.reason}]`)
  return all
}

test('over a real socket, a broken connection is resumed with an id beyond Latin-1', async () => {
  const url = await serve((req, res, number) => {
    if (number === 1) {
      open(res, ready({}, 'e.0') + event('eins', 'ä…1') + event('zw', 'ä…2').slice(0, -1))
      setImmediate(() => res.destroy())
      return
    }
    const cursor = Buffer.from(String(req.headers['last-event-id']), 'latin1').toString()
    open(res, ready({ resumed: 'ok' }, cursor) + event(`after ${cursor}`, 'ä…2') + end('sealed'))
  })
  expect(await texts(connect(url, { clock: hasty }))).toEqual(['eins', 'after ä…1'])
})

test('over a real socket, close() is seen by the server', async () => {
  let closed: () => void = () => {}
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve
  })
  const url = await serve((_, res) => {
    res.on('close', closed)
    open(res, ready({}, 'e.0'))
  })
  const stream = connect(url)
  await stream.ready
  stream.close()
  await isClosed
})

test('over a real socket, a server that is not there is tried again until it is', async () => {
  const url = await serve((_, res) => open(res, ready() + event('here', '1') + end('sealed')))
  const free = await serve(() => {})
  await cleanups.pop()?.()
  let calls = 0
  const stream = connect(free, { clock: hasty, fetch: (_, init) => fetch(++calls < 4 ? free : url, init) })
  const reasons: unknown[] = []
  stream.onState(({ state, reason }) => state === 'waiting' && reasons.push(reason))
  expect(await texts(stream)).toEqual(['here'])
  expect(reasons).toEqual(Array(3).fill('the request failed (ECONNREFUSED)'))
})

test('over a real socket, a consumer that does not read holds the server back, and loses nothing', async () => {
  const total = 20_000
  let written = 0
  const url = await serve((_, res) => {
    open(res, ready({}, 'e.0'))
    const more = () => {
      while (written < total) if (!res.write(event(String(written).padEnd(1_000, '.'), `e.${written++}`))) return
      res.end(end('sealed'))
    }
    res.on('drain', more)
    more()
  })
  const stream = connect(url)
  await stream.ready
  // Blocked is: no progress for many turns. Over loopback the kernel swallows some megabytes first.
  for (let seen = -1; seen !== written; ) {
    seen = written
    await settle(2_000)
  }
  expect(written).toBeLessThan(total / 2)
  const all = await texts(stream)
  expect(all).toHaveLength(total)
  expect(all.every((text, i) => Number.parseInt(text, 10) === i)).toBe(true)
})
