import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { createHub, type Hub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import { listen, type Served } from '../support/served.js'
import { pathOf } from '../support/world.js'

const CLIENT = 'examples/python/client.py'
const python = newPython()
const why = python ? '' : ' (no python3 of 3.9 or later)'

test.runIf(process.env.CI === 'true')('there is a python3 to test with', () => {
  expect(python).toBeDefined()
})

describe.skipIf(!python)(`the client in Python${why}`, () => {
  let hub: Hub
  let served: Served

  beforeAll(async () => {
    hub = createHub({ store: memoryStore({ maxEvents: 60 }), retryMs: [100, 100] })
    served = await listen(sse(hub, { stream: pathOf }))
  })

  afterAll(async () => {
    await hub.close()
    await served[Symbol.asyncDispose]()
  })

  test('reads every event once and in order, though each response is cut after another number of bytes', {
    timeout: 60_000,
  }, async () => {
    await hub.publish(
      'cut',
      upTo(40).map((n) => ({ event: n % 2 ? 'odd' : undefined, data: `event ${n}\nä漢😀` })),
    )
    await hub.seal('cut')
    await using path = await cutting(served)
    const items = await read(`${path.url}/cut?from=earliest`)
    expect(path.cuts).toBeGreaterThan(5)
    expect(items.map(([event, data]) => [event, data])).toEqual(
      upTo(40).map((n) => [n % 2 ? 'odd' : 'message', `event ${n}\nä漢😀`]),
    )
  })

  test('is told of what it missed, before what follows', async () => {
    const { cursor } = await hub.publish('missed', { data: 'the last one that it saw' })
    await hub.publish(
      'missed',
      upTo(100).map((n) => ({ data: `event ${n}` })),
    )
    await hub.seal('missed')
    const [gap, ...items] = await read(`http://127.0.0.1:${portOf(served)}/missed`, cursor)
    expect(gap?.slice(0, 2)).toEqual(['stream:gap', '{"reason":"expired","missed":40}'])
    expect(items.map(([, data]) => data)).toEqual(
      upTo(100)
        .slice(40)
        .map((n) => `event ${n}`),
    )
  })

  test('a refusal ends it, and so do a page that is no stream and a sealed stream that is read', async () => {
    const { cursor } = await hub.publish('over', { data: 'all' })
    await hub.seal('over')
    expect(await read(`http://127.0.0.1:${portOf(served)}/over`, cursor)).toEqual([])
    await expect(read(`http://127.0.0.1:${portOf(served)}/over?from=nowhere`)).rejects.toThrow(/HTTP Error 400/)
    await using page = await listen((_, response) => response.setHeader('content-type', 'text/html').end('<p>a page'))
    await expect(read(`http://127.0.0.1:${portOf(page)}/`)).rejects.toThrow(/not an event stream/)
  })
})

/** 1, 2, … */
function upTo(most: number): number[] {
  return Array.from({ length: most }, (_, index) => index + 1)
}

type Item = [event: string, data: string, cursor: string]

/** What the client prints until it ends by itself. */
async function read(url: string, cursor?: string): Promise<Item[]> {
  const child = spawn('python3', [CLIENT, url, ...(cursor === undefined ? [] : [cursor])])
  const ended = once(child, 'close')
  let errors = ''
  child.stderr.on('data', (text) => {
    errors += text
  })
  const items: Item[] = []
  for await (const line of createInterface(child.stdout)) items.push(JSON.parse(line) as Item)
  const [code] = await ended
  if (code !== 0) throw new Error(errors)
  return items
}

/** A path to the server on which each response breaks off after another few hundred bytes. */
async function cutting(to: Served) {
  let cuts = 0
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    const upstream = net.connect(portOf(to), '127.0.0.1')
    let left = 600 + ((cuts * 37) % 300)
    const both = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', both).on('close', both)
    }
    client.on('data', (chunk) => upstream.write(chunk))
    upstream.on('data', (chunk) => {
      if (left <= 0) return
      client.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left > 0) return
      cuts++
      client.end()
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function portOf({ address }: Served): number {
  if (!('port' in address)) throw new Error('There is no port.')
  return address.port
}

/** The version of python3, when it is one that can run the client. */
function newPython(): string | undefined {
  try {
    const version = execFileSync('python3', ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    return Number(version.split('.')[1]) >= 9 ? version : undefined
  } catch {
    return undefined
  }
}
