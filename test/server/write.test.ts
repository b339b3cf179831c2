import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { type SseError, writeSSE } from '../../src/server/index.js'
import type { NodeTarget } from '../../src/server/write.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { turns } from '../support/turns.js'

const KIB = 1024
const LARGE = { data: 'x'.repeat(60 * KIB) }
const EVENTS = ['drain', 'close', 'error'] as const

interface Pair extends AsyncDisposable {
  readonly target: NodeTarget & { listenerCount(event: string): number }
  /** The other side begins to read. */
  read(): void
  /** The other side is gone. */
  vanish(): void
}

/** A server that hands out its side of one connection, and a client that does not read. */
async function pairOf(kind: 'http' | 'http2' | 'socket'): Promise<Pair> {
  let resolve = (_: Pair['target']) => {}
  const promise = new Promise<Pair['target']>((settle) => {
    resolve = settle
  })
  const answer = (_: unknown, res: http.ServerResponse | http2.Http2ServerResponse) => {
    res.writeHead(200)
    resolve(res as Pair['target'])
  }
  const server =
    kind === 'http'
      ? http.createServer(answer)
      : kind === 'http2'
        ? http2.createServer(answer)
        : net.createServer((socket) => resolve(socket.on('error', () => {}) as Pair['target']))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  let read = () => {}
  let vanish = () => {}
  if (kind === 'http2') {
    const session = http2.connect(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    read = () => stream.resume()
    vanish = () => session.destroy()
  } else {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    if (kind === 'http') socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    socket.pause()
    read = () => socket.resume()
    vanish = () => socket.destroy()
  }
  return {
    target: await promise,
    read,
    vanish,
    async [Symbol.asyncDispose]() {
      vanish()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

/** Unlike `once`, not bothered by an error before it. */
function closing(target: NodeTarget): Promise<void> {
  return new Promise((resolve) => {
    const closed = () => {
      target.off('close', closed)
      resolve()
    }
    target.on('close', closed)
  })
}

function counts(target: Pair['target']): number[] {
  return EVENTS.map((event) => target.listenerCount(event))
}

/** Writes until a write has to wait. Returns what it waits for. */
async function fill(
  target: NodeTarget,
  options: Parameters<typeof writeSSE>[2] = {},
): Promise<{ done: Promise<void> }> {
  for (;;) {
    let settled = false
    const done = writeSSE(target, LARGE, { maxPendingBytes: 64 * KIB * KIB, ...options })
    const noted = done.finally(() => {
      settled = true
    })
    noted.catch(() => {})
    await turns(5)
    if (!settled) return { done }
  }
}

const kinds = ['http', 'http2', 'socket'] as const

test.each(kinds)('%s: a write that waits resolves on drain, and leaves nothing', async (kind) => {
  const clock = virtualClock()
  await using pair = await pairOf(kind)
  const before = counts(pair.target)
  const { done } = await fill(pair.target, { clock })
  expect(clock.pending).toBe(1)
  pair.read()
  await done
  expect(clock.pending).toBe(0)
  expect(counts(pair.target)).toEqual(before)
})

test.each(kinds)('%s: a client that vanishes while a write waits is CLOSED within 50 ms', async (kind) => {
  const clock = virtualClock()
  await using pair = await pairOf(kind)
  const before = counts(pair.target)
  const { done } = await fill(pair.target, { clock })
  const closed = closing(pair.target).then(() => performance.now())
  pair.vanish()
  await expect(done).rejects.toMatchObject({ code: 'CLOSED' })
  expect(performance.now() - (await closed)).toBeLessThan(50)
  expect(clock.pending).toBe(0)
  expect(counts(pair.target).map((count, index) => count <= (before[index] ?? 0))).toEqual([true, true, true])
})

test.each(kinds)('%s: on a target that is closed already a write is CLOSED at once', async (kind) => {
  const clock = virtualClock()
  await using pair = await pairOf(kind)
  const closed = closing(pair.target)
  pair.vanish()
  await closed
  await expect(writeSSE(pair.target, LARGE, { clock })).rejects.toMatchObject({ code: 'CLOSED' })
  expect(clock.pending).toBe(0)
})

test.each(kinds)('%s: the deadline is WRITE_TIMEOUT and destroys the target', async (kind) => {
  const clock = virtualClock()
  await using pair = await pairOf(kind)
  const { done } = await fill(pair.target, { clock, timeoutMs: 5_000 })
  const closed = closing(pair.target)
  const settled = expect(done).rejects.toMatchObject({ code: 'WRITE_TIMEOUT' })
  await clock.advance(4_999)
  expect(clock.pending).toBe(1)
  await clock.advance(1)
  await settled
  await closed
  expect(clock.pending).toBe(0)
})

/** A target whose room the test decides. */
class Scripted extends Writable {
  readonly #takes: (() => void)[] = []
  taken = ''
  constructor(highWaterMark = 1) {
    super({ highWaterMark })
  }
  override _write(chunk: Buffer, _: string, taken: () => void): void {
    this.taken += chunk.toString()
    this.#takes.push(taken)
  }
  /** Takes all that was written. */
  async take(): Promise<void> {
    for (let taken = this.#takes.shift(); taken; taken = this.#takes.shift()) {
      taken()
      await turns(1)
    }
  }
}

test('any Writable: the write waits for its drain', async () => {
  const target = new Scripted()
  const clock = virtualClock()
  let settled = false
  const done = writeSSE(target, { data: 'x' }, { clock }).then(() => {
    settled = true
  })
  await turns(5)
  expect(settled).toBe(false)
  await target.take()
  await done
  expect(target.taken).toBe('data: x\n\n')
  expect(clock.pending).toBe(0)
  expect(EVENTS.map((event) => target.listenerCount(event))).toEqual([0, 0, 0])
})

test('a target that fails while a write waits is CLOSED', async () => {
  const target = new Scripted()
  const done = writeSSE(target, { data: 'x' })
  target.destroy(new Error('broken'))
  await expect(done).rejects.toMatchObject({ code: 'CLOSED' })
  target.on('error', () => {})
})

test('a target that was ended is CLOSED', async () => {
  const target = new Scripted()
  target.end()
  await expect(writeSSE(target, { data: 'x' })).rejects.toMatchObject({ code: 'CLOSED' })
})

test('a write that finds room makes no timer at all', async () => {
  const clock = virtualClock()
  const target = new Scripted(1_000)
  await writeSSE(target, { data: 'x' }, { clock })
  expect(clock.pending).toBe(0)
})

test('`signal` rejects with its reason and leaves the target as it is', async () => {
  const target = new Scripted()
  const clock = virtualClock()
  const leaving = new AbortController()
  const done = writeSSE(target, { data: 'x' }, { signal: leaving.signal, clock })
  const reason = new Error('enough')
  leaving.abort(reason)
  await expect(done).rejects.toBe(reason)
  expect(target.destroyed).toBe(false)
  expect(clock.pending).toBe(0)
  expect(EVENTS.map((event) => target.listenerCount(event))).toEqual([0, 0, 0])

  await target.take()
  await expect(writeSSE(target, { data: 'y' }, { signal: leaving.signal })).rejects.toBe(reason)
  expect(target.taken).toBe('data: x\n\n')
})

async function warningsOf(run: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = []
  const warned = (warning: Error) => warnings.push(warning.name)
  process.on('warning', warned)
  await run()
  await turns()
  process.off('warning', warned)
  return warnings
}

test('a thousand drained writes leave no timer, no listener and no warning', async () => {
  const clock = virtualClock()
  const target = new Scripted()
  const { signal } = new AbortController()
  const warnings = await warningsOf(async () => {
    for (let n = 0; n < 1_000; n++) {
      const done = writeSSE(target, { data: String(n) }, { clock, signal })
      await target.take()
      await done
    }
  })
  expect(clock.pending).toBe(0)
  expect(EVENTS.map((event) => target.listenerCount(event))).toEqual([0, 0, 0])
  expect(warnings).toEqual([])
})

test('a thousand un-awaited writes: what is beyond maxPendingBytes is OVERLOADED, and nothing warns', async () => {
  const clock = virtualClock()
  const target = new Scripted()
  const warnings = await warningsOf(async () => {
    // 'data: ' + 90 + two line breaks: 98 bytes each
    const writes = Array.from({ length: 1_000 }, () =>
      writeSSE(target, { data: 'x'.repeat(90) }, { clock, maxPendingBytes: 9_800 }),
    )
    const settling = Promise.allSettled(writes)
    await target.take()
    const settled = await settling
    const codes = settled.map((one) => (one.status === 'rejected' ? (one.reason as SseError).code : 'ok'))
    expect(codes.slice(0, 100)).toEqual(Array(100).fill('ok'))
    expect(codes.slice(100)).toEqual(Array(900).fill('OVERLOADED'))
  })
  expect(target.taken).toHaveLength(9_800)
  expect(warnings).toEqual([])
  expect(clock.pending).toBe(0)
})

test('the first frame may be larger than maxPendingBytes: nothing else is pending', async () => {
  const target = new Scripted()
  const done = writeSSE(target, { data: 'x'.repeat(100) }, { maxPendingBytes: 10 })
  await target.take()
  await done
})

test('a frame over maxFrameBytes is FRAME_TOO_LARGE, counted in bytes, and nothing is written', async () => {
  const target = new Scripted(10_000)
  const frame = { data: 'ä'.repeat(50) }
  await writeSSE(target, frame, { maxFrameBytes: 108 })
  await expect(writeSSE(target, frame, { maxFrameBytes: 107 })).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' })
  await target.take()
  expect(Buffer.byteLength(target.taken)).toBe(108)
})

test('a string is a finished frame', async () => {
  const target = new Scripted(1_000)
  await writeSSE(target, ': still here\n\n')
  expect(target.taken).toBe(': still here\n\n')
})

test('what no frame can carry is a TypeError, and so is a target that cannot be written to', async () => {
  await expect(writeSSE(new Scripted(), { data: 'x', event: 'a\nb' })).rejects.toThrow(/`event`/)
  await expect(writeSSE({} as NodeTarget, { data: 'x' })).rejects.toThrow(/`target`/)
  await expect(writeSSE(new Scripted(), { data: 'x' }, { timeoutMs: 0 })).rejects.toThrow(/`timeoutMs`/)
})
