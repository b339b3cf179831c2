import { expect, test } from 'vitest'
import { writeSSE } from '../../src/server/index.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { turns } from '../support/turns.js'

/** A writer whose sink takes a chunk when the test says so. */
function scripted() {
  const takes: (() => void)[] = []
  let fail: (error: unknown) => void = () => {}
  const aborted: unknown[] = []
  const chunks: string[] = []
  const stream = new WritableStream<Uint8Array>(
    {
      start: (controller) => {
        fail = (error) => controller.error(error)
      },
      write: (chunk) => {
        chunks.push(new TextDecoder().decode(chunk))
        return new Promise((resolve) => takes.push(() => resolve()))
      },
      abort: (reason) => {
        aborted.push(reason)
      },
    },
    { highWaterMark: 1 },
  )
  return {
    writer: stream.getWriter(),
    chunks,
    aborted,
    fail: (error: unknown) => fail(error),
    async take() {
      await turns(1)
      for (let taken = takes.shift(); taken; taken = takes.shift()) {
        taken()
        await turns(1)
      }
    },
  }
}

test('a write waits until the sink has taken it, and leaves no timer', async () => {
  const clock = virtualClock()
  const { writer, take, chunks } = scripted()
  let settled = false
  const done = writeSSE(writer, { data: 'x' }, { clock }).then(() => {
    settled = true
  })
  await turns()
  expect(settled).toBe(false)
  expect(clock.pending).toBe(1)
  await take()
  await done
  expect(chunks).toEqual(['data: x\n\n'])
  expect(clock.pending).toBe(0)
})

test('a reader that cancels while a write waits is CLOSED', async () => {
  const clock = virtualClock()
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const done = writeSSE(writable.getWriter(), { data: 'x' }, { clock })
  await readable.cancel()
  await expect(done).rejects.toMatchObject({ code: 'CLOSED' })
  expect(clock.pending).toBe(0)
})

test('a sink that fails is CLOSED, now and for every later write', async () => {
  const clock = virtualClock()
  const { writer, fail } = scripted()
  const done = writeSSE(writer, { data: 'x' }, { clock })
  const later = writeSSE(writer, { data: 'y' }, { clock })
  fail(new Error('broken'))
  await expect(done).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(later).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(writeSSE(writer, { data: 'z' }, { clock })).rejects.toMatchObject({ code: 'CLOSED' })
  expect(clock.pending).toBe(0)
})

test('a writer that was closed is CLOSED', async () => {
  const { writer } = scripted()
  await writer.close()
  await expect(writeSSE(writer, { data: 'x' })).rejects.toMatchObject({ code: 'CLOSED' })
})

test('the deadline is WRITE_TIMEOUT for all that wait, and aborts the writer', async () => {
  const clock = virtualClock()
  const { writer, take, aborted } = scripted()
  const first = expect(writeSSE(writer, { data: 'x' }, { clock, timeoutMs: 5_000 })).rejects.toMatchObject({
    code: 'WRITE_TIMEOUT',
  })
  const second = expect(writeSSE(writer, { data: 'y' }, { clock })).rejects.toMatchObject({ code: 'WRITE_TIMEOUT' })
  await clock.advance(5_000)
  await first
  await second
  expect(clock.pending).toBe(0)
  await take()
  expect(aborted).toEqual([expect.objectContaining({ code: 'WRITE_TIMEOUT' })])
  await expect(writeSSE(writer, { data: 'z' })).rejects.toMatchObject({ code: 'CLOSED' })
})

test('`signal` rejects with its reason and leaves the writer as it is', async () => {
  const clock = virtualClock()
  const { writer, take, aborted, chunks } = scripted()
  const leaving = new AbortController()
  const done = writeSSE(writer, { data: 'x' }, { clock, signal: leaving.signal })
  const reason = new Error('enough')
  leaving.abort(reason)
  await expect(done).rejects.toBe(reason)
  await take()
  const next = writeSSE(writer, { data: 'y' }, { clock })
  await take()
  await next
  expect(aborted).toEqual([])
  expect(chunks).toEqual(['data: x\n\n', 'data: y\n\n'])
  expect(clock.pending).toBe(0)
})

test('a thousand un-awaited writes: what is beyond maxPendingBytes is OVERLOADED', async () => {
  const clock = virtualClock()
  const { writer, take, chunks } = scripted()
  const settling = Promise.allSettled(
    Array.from({ length: 1_000 }, () => writeSSE(writer, { data: 'x'.repeat(90) }, { clock, maxPendingBytes: 9_800 })),
  )
  await take()
  const settled = await settling
  expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(100)
  expect(chunks).toHaveLength(100)
  expect(clock.pending).toBe(0)
})

test('a thousand drained writes leave no timer', async () => {
  const clock = virtualClock()
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const reader = readable.getReader()
  for (let n = 0; n < 1_000; n++) await Promise.all([writeSSE(writer, { data: String(n) }, { clock }), reader.read()])
  expect(clock.pending).toBe(0)
})
