// The smoke: what steady-sse promises, tried in the runtime that runs this file. It prints one line of JSON.
//
//   node|bun|deno smoke.mjs node web     the server here, over the adapters that are named, and the client here
//   node smoke.mjs http://127.0.0.1:…    the client here; the server (world.mjs) is elsewhere
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import process from 'node:process'
import { connect } from 'steady-sse/client'
import { sse as nodeSse } from 'steady-sse/node'
import { createHub } from 'steady-sse/server'
import { sse as webSse } from 'steady-sse/web'
import { createWorld, HEARTBEAT_MS, WRITE_TIMEOUT_MS } from './world.mjs'

const { Bun, Deno } = globalThis
/** Far more than any of it takes on a machine that is not busy. */
const LIMIT_MS = 40_000

const checks = {
  /** `require` brings the same module as `import`. */
  async require() {
    assert(createRequire(import.meta.url)('steady-sse/server').createHub === createHub, 'it is another one')
    return {}
  },

  /** An event is handed over as soon as it is published. */
  async publish({ url, ask }) {
    const stream = connect(`${url}/events/publish`)
    await stream.ready
    const before = performance.now()
    await ask('publish', { stream: 'publish', first: 1, count: 3, bytes: 30 })
    const items = await take(stream, 3)
    assertEqual(numbersOf(items), range(1, 3))
    assertEqual(items[0].json().filling, 'é'.repeat(15))
    return { latencyMs: Math.round(performance.now() - before) }
  },

  /** Connections that break off inside of frames, and events published while the client is away: none is missing, none comes twice. */
  async cut({ port, ask }) {
    const publish = (first, count) => ask('publish', { stream: 'cut', first, count, bytes: 60 })
    await publish(1, 100)
    let published = Promise.resolve()
    const proxy = await cuttingProxy(port, [3_000, 6_001, 9_002], (cuts) => {
      published = published.then(() => publish(51 + 50 * cuts, 50))
      // It is awaited below.
      published.catch(() => {})
    })
    const stream = connect(`http://127.0.0.1:${proxy.port}/events/cut`)
    const items = await take(stream, 250)
    await published
    proxy.close()
    assertEqual(numbersOf(items), range(1, 250))
    assertEqual(proxy.cuts, 3)
    return { cuts: proxy.cuts }
  },

  /** A client that begins anew with a saved cursor goes on behind it. */
  async resume({ url, ask }) {
    await ask('publish', { stream: 'resume', first: 1, count: 40 })
    const before = connect(`${url}/events/resume`)
    const [last] = (await take(before, 15)).slice(-1)
    await ask('publish', { stream: 'resume', first: 41, count: 10 })
    const items = await take(connect(`${url}/events/resume`, { cursor: last.id }), 35)
    assertEqual(numbersOf(items), range(16, 50))
    return { resumedAfter: last.json().n }
  },

  /** A reader that stops taking is destroyed at the write deadline. */
  async stall({ port, ask }) {
    const closedBefore = (await ask('stats')).closed.WRITE_TIMEOUT
    const reader = await openRaw(port, '/events/stall')
    await reader.until((text) => text.includes('stream:ready'))
    reader.socket.pause()
    const before = performance.now()
    // More than the kernel takes for a reader that does not read.
    await ask('publish', { stream: 'stall', first: 1, count: 160, bytes: 65_536 })
    await eventually(async () => (await ask('stats')).closed.WRITE_TIMEOUT > closedBefore)
    const afterMs = Math.round(performance.now() - before)
    reader.socket.resume()
    await reader.closed
    assert(afterMs >= WRITE_TIMEOUT_MS, `destroyed after ${afterMs} ms, before the write deadline`)
    assert(!reader.text.includes('stream:end'), 'the stalled response was ended in order')
    return { afterMs, takenMiB: Math.round(reader.bytes / 104_857.6) / 10 }
  },

  /** A quiet stream beats, and no faster than half the interval, by the server's own times. */
  async heartbeat({ port }) {
    const reader = await openRaw(port, '/events/heartbeat')
    const beats = () => [...reader.text.matchAll(/^: (\d+)$/gm)].map(([, time]) => Number(time))
    await reader.until(() => beats().length >= 4)
    reader.socket.destroy()
    const everyMs = beats().flatMap((time, index, all) => (index === 0 ? [] : time - all[index - 1]))
    assert(
      everyMs.every((ms) => ms >= HEARTBEAT_MS / 2),
      `beats after ${everyMs.join()} ms`,
    )
    return { everyMs }
  },

  /** The server hears of a client that leaves. */
  async leave({ url, ask }) {
    const stream = connect(`${url}/events/leave`)
    await stream.ready
    const closedBefore = (await ask('stats')).closed.client
    const before = performance.now()
    stream.close()
    await eventually(async () => (await ask('stats')).closed.client > closedBefore)
    return { heardMs: Math.round(performance.now() - before) }
  },

  /** A sealed stream ends the loop, and the next one that has it all too. */
  async seal({ url, ask }) {
    const { cursor } = await ask('publish', { stream: 'seal', first: 1, count: 5 })
    const items = []
    const stream = connect(`${url}/events/seal`)
    await stream.ready
    await ask('seal', { stream: 'seal' })
    for await (const item of stream) items.push(item)
    assertEqual(numbersOf(items), range(1, 5))
    for await (const item of connect(`${url}/events/seal`, { cursor })) throw new Error(`one more item: ${item.type}`)
    return {}
  },
}

/** What stands at `url`, and how it is moved. */
function target(url) {
  return {
    url,
    port: Number(new URL(url).port),
    async ask(verb, query = {}) {
      const response = await fetch(`${url}/control/${verb}?${new URLSearchParams(query)}`)
      if (!response.ok) throw new Error(`${verb} was answered ${response.status} ${await response.text()}`)
      return response.json()
    },
  }
}

async function runAll(where) {
  const results = {}
  // Side by side, but for those which count what all do.
  const alone = ['leave']
  const run = async (name) => {
    const before = performance.now()
    try {
      results[name] = { ok: true, ...(await within(LIMIT_MS, name, checks[name](where))) }
    } catch (error) {
      results[name] = { ok: false, error: String(error?.stack ?? error) }
    }
    results[name].ms = Math.round(performance.now() - before)
  }
  await Promise.all(
    Object.keys(checks)
      .filter((name) => !alone.includes(name))
      .map(run),
  )
  for (const name of alone) await run(name)
  try {
    await within(
      LIMIT_MS,
      'idle',
      eventually(async () => (await where.ask('stats')).connections === 0),
    )
    results.idle = { ok: true }
  } catch (error) {
    results.idle = { ok: false, error: String(error) }
  }
  return results
}

// The servers

async function serve(adapter) {
  const world = createWorld()
  const { port, close } = adapter === 'node' ? await serveNode(world) : await serveWeb(world)
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      await world.hub.close()
      await close()
    },
  }
}

async function serveNode(world) {
  const stream = nodeSse(world.hub, world.options)
  return listening(
    http.createServer((req, res) => {
      if (!world.isControl(req.url)) return stream(req, res)
      world.control(req.url).then(
        (answer) => res.setHeader('content-type', 'application/json').end(JSON.stringify(answer)),
        (error) => {
          res.statusCode = 500
          res.end(String(error))
        },
      )
    }),
  )
}

async function serveWeb(world) {
  const stream = webSse(world.hub, world.options)
  const handler = async (request) => {
    if (!world.isControl(request.url)) return stream(request)
    return Response.json(await world.control(request.url))
  }
  if (Bun) {
    const server = Bun.serve({ hostname: '127.0.0.1', port: 0, idleTimeout: 0, fetch: handler })
    return { port: server.port, close: () => server.stop(true) }
  }
  if (Deno) {
    const server = Deno.serve({ hostname: '127.0.0.1', port: 0, onListen() {} }, handler)
    return { port: server.addr.port, close: () => server.shutdown() }
  }
  const { createAdaptorServer } = await import('@hono/node-server')
  return listening(createAdaptorServer({ fetch: handler }))
}

async function listening(server) {
  // On a busy machine, a request on a kept connection would meet its end.
  if ('keepAliveTimeout' in server) server.keepAliveTimeout = 0
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: server.address().port,
    close: () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections?.()
      return closed
    },
  }
}

// The tools

/** Passes connections on to `port` and breaks the first ones off after so many bytes of what comes back. */
async function cuttingProxy(port, limits, onCut) {
  const open = new Set()
  let connections = 0
  const proxy = {
    cuts: 0,
    port: 0,
    close() {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1')
    let left = limits[connections++] ?? Number.POSITIVE_INFINITY
    const both = () => {
      for (const socket of [client, upstream]) {
        open.delete(socket)
        socket.destroy()
      }
    }
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', both).on('close', both)
    }
    client.on('data', (chunk) => upstream.write(chunk))
    upstream.on('data', (chunk) => {
      if (left <= 0) return
      client.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left > 0) return
      onCut(++proxy.cuts)
      // Not in one go with the last bytes: some runtimes then drop them, so that the client counts a failed attempt,
      // loses nothing, and waits for longer than this is to take.
      setTimeout(both, 50)
    })
  })
  proxy.port = (await listening(server)).port
  return proxy
}

/** A response read off a socket: nothing of our client is in it. */
async function openRaw(port, path) {
  const socket = net.connect(port, '127.0.0.1')
  const decoder = new TextDecoder()
  const looks = new Set()
  const reader = { socket, text: '', bytes: 0, closed: new Promise((resolve) => socket.on('close', resolve)) }
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    reader.bytes += chunk.length
    reader.text = (reader.text + decoder.decode(chunk, { stream: true })).slice(-100_000)
    for (const look of looks) look()
  })
  reader.until = (check) =>
    new Promise((resolve, reject) => {
      const look = () => {
        if (!check(reader.text)) return
        looks.delete(look)
        resolve()
      }
      looks.add(look)
      socket.on('close', () => reject(new Error(`closed with ${reader.text.slice(-500)}`)))
      look()
    })
  await new Promise((resolve, reject) => socket.on('connect', resolve).on('error', reject))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`)
  return reader
}

/** The next items of a stream, which is left after them. */
async function take(stream, count) {
  const items = []
  for await (const item of stream) {
    items.push(item)
    if (items.length === count) break
  }
  return items
}

async function eventually(check) {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 10))
}

async function within(ms, what, promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function numbersOf(items) {
  return items.map((item) => (item.type === 'event' ? item.json().n : `gap ${item.reason}`))
}

function range(from, to) {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

function assertEqual(got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)]
  assert(a === b, `got ${a}, wanted ${b}`)
}

function assert(holds, what) {
  if (!holds) throw new Error(what)
}

async function main(given) {
  const version = Bun?.version ?? Deno?.version.deno ?? process.versions.node
  const runtime = Bun ? 'bun' : Deno ? 'deno' : 'node'
  const results = {}
  for (const what of given) {
    if (what.startsWith('http:')) {
      results.elsewhere = await runAll(target(what))
      continue
    }
    const served = await serve(what)
    results[what] = await runAll(target(served.url))
    await within(LIMIT_MS, 'to close the server', served.close())
  }
  console.log(JSON.stringify({ runtime, version, results }))
  // A check that failed may have left something behind. One that did not, has not: the process ends by itself.
  const all = Object.values(results).flatMap((each) => Object.values(each))
  if (all.some(({ ok }) => !ok)) setTimeout(() => process.exit(), 100)
}

await main(process.argv.slice(2))
