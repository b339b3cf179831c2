import { expect, test } from 'vitest'
import { type DirectConnection, type NodeRequest, openSSE } from '../../src/adapters/node.js'
import { openSSE as openWeb } from '../../src/adapters/web.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { read } from '../support/raw-reader.js'
import { abortOf, readWeb } from '../support/reading.js'
import { listen } from '../support/served.js'
import { turns, until } from '../support/turns.js'

async function opened(unix: boolean, options: Parameters<typeof openSSE>[2] = {}) {
  let open = (_: DirectConnection) => {}
  const connection = new Promise<DirectConnection>((resolve) => {
    open = resolve
  })
  const served = await listen((req: NodeRequest, res) => void openSSE(req, res as never, options).then(open), { unix })
  const reader = await read(served.address)
  return { served, reader, connection: await connection }
}

const LARGE = 'x'.repeat(60 * 1024)

test('openSSE: send() waits for the drain of a reader that stops, and then goes on', async () => {
  const clock = virtualClock()
  const { served, reader, connection } = await opened(true, { clock })
  await using _ = served
  reader.response.pause()
  let sent = 0
  let waiting = false
  const sending = (async () => {
    for (; sent < 100; sent++) {
      waiting = true
      await connection.send({ data: `${sent} ${LARGE}` })
      waiting = false
    }
  })()
  await until(() => sent > 0 && waiting)
  await turns(50)
  expect(sent).toBeLessThan(50)
  reader.response.resume()
  await sending
  connection.close()
  await reader.end()
  expect(reader.events.map((data) => Number(data.split(' ', 1)[0]))).toEqual([...Array(100).keys()])
  expect(clock.pending).toBe(0)
})

test('openSSE: sends that wait when close is called are taken, and resolve', async () => {
  const clock = virtualClock()
  const { served, reader, connection } = await opened(true, { clock })
  await using _ = served
  reader.response.pause()
  const sends = Array.from({ length: 10 }, (_, n) => connection.send({ data: `${n} ${LARGE}` }))
  connection.close()
  await expect(connection.send({ data: 'late' })).rejects.toMatchObject({ code: 'CLOSED' })
  reader.response.resume()
  await reader.end()
  expect(reader.events).toHaveLength(10)
  expect(reader.names.at(-1)).toBe('stream:end')
  await Promise.all(sends)
  expect(connection.reason).toBe('sealed')
  expect(clock.pending).toBe(0)
})

test('openSSE: what is un-awaited beyond maxPendingBytes is OVERLOADED, and the rest arrives', async () => {
  const { served, reader, connection } = await opened(true, { maxPendingBytes: 1024 * 1024 })
  await using _ = served
  reader.response.pause()
  const settling = Promise.allSettled(Array.from({ length: 100 }, (_, n) => connection.send({ data: `${n} ${LARGE}` })))
  reader.response.resume()
  const codes = (await settling).map((one) => (one.status === 'rejected' ? one.reason.code : 'ok'))
  const taken = codes.indexOf('OVERLOADED')
  expect(taken).toBeGreaterThan(10)
  expect(taken).toBeLessThan(26)
  expect(codes.slice(taken)).toEqual(Array(100 - taken).fill('OVERLOADED'))
  await reader.until(({ events }) => events.length === taken)
})

test('openSSE: a reader that takes nothing for writeTimeoutMs is WRITE_TIMEOUT for every send', async () => {
  const clock = virtualClock()
  const { served, reader, connection } = await opened(true, { clock, writeTimeoutMs: 5_000 })
  await using _ = served
  reader.response.pause()
  const sends = Array.from({ length: 10 }, (_, n) => connection.send({ data: `${n} ${LARGE}` }))
  const settling = Promise.allSettled(sends)
  await clock.advance(5_000)
  const reasons = (await settling).map((one) => (one.status === 'rejected' ? one.reason.code : 'ok'))
  expect(reasons.at(-1)).toBe('WRITE_TIMEOUT')
  expect(connection.reason).toBe('WRITE_TIMEOUT')
  expect(connection.signal.aborted).toBe(true)
  await expect(connection.send({ data: 'late' })).rejects.toMatchObject({ code: 'WRITE_TIMEOUT' })
  expect(clock.pending).toBe(0)
})

test('openSSE: bad input is refused before anything is written', async () => {
  const { served, reader, connection } = await opened(false, { maxFrameBytes: 100 })
  await using _ = served
  await expect(connection.send({ data: 'x', id: 'a\nb' })).rejects.toThrow(TypeError)
  await expect(connection.send({ data: 'x'.repeat(100) })).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' })
  await connection.comment('fine')
  await connection.send({ data: 'fine' })
  await reader.until(({ events }) => events.length === 1)
  expect(reader.comments).toEqual(['fine'])
})

test.each(['sealed', 'shutdown', 'maxAge', 'error'] as const)(
  'openSSE: close(%j) says so to both sides',
  async (reason) => {
    const { served, reader, connection } = await opened(false)
    await using _ = served
    connection.close(reason)
    connection.close('error')
    await reader.end()
    expect(reader.json('stream:end')).toEqual({ reason })
    await served.idle()
    expect(connection.reason).toBe(reason)
    await expect(connection.send({ data: 'late' })).rejects.toMatchObject({ code: 'CLOSED' })
  },
)

test('openSSE: a client that leaves is reason client, and aborts the signal', async () => {
  const { served, reader, connection } = await opened(false)
  await using _ = served
  expect(connection.reason).toBeUndefined()
  const aborted = abortOf(connection.signal)
  reader.destroy()
  await aborted
  expect(connection.reason).toBe('client')
  await expect(connection.comment()).rejects.toMatchObject({ code: 'CLOSED' })
})

test('web openSSE: send() waits for the reader, and the reader gets all', async () => {
  const clock = virtualClock()
  const connection = await openWeb(new Request('http://x/'), { clock })
  const send = async () => {
    for (let n = 0; n < 20; n++) await connection.send({ data: `${n} ${LARGE}` })
    connection.close()
  }
  let sent = false
  const sending = send().then(() => {
    sent = true
  })
  await turns(5)
  expect(sent).toBe(false)
  await using reader = readWeb(connection.response)
  await sending
  await reader.over()
  expect(reader.frames.events).toHaveLength(20)
  expect(connection.reason).toBe('sealed')
  expect(clock.pending).toBe(0)
})

test('web openSSE: a body that is cancelled, and a request that is aborted, are reason client', async () => {
  const clock = virtualClock()
  const one = await openWeb(new Request('http://x/'), { clock })
  await one.response.body?.cancel()
  expect(one.reason).toBe('client')

  const leaving = new AbortController()
  const two = await openWeb(new Request('http://x/', { signal: leaving.signal }), { clock })
  leaving.abort()
  expect(two.reason).toBe('client')
  await expect(two.send({ data: 'late' })).rejects.toMatchObject({ code: 'CLOSED' })
  expect(clock.pending).toBe(0)
})

test('web openSSE: a reader that takes nothing for writeTimeoutMs sees its body fail', async () => {
  const clock = virtualClock()
  const connection = await openWeb(new Request('http://x/'), { clock, writeTimeoutMs: 5_000 })
  const sent = expect(connection.send({ data: LARGE.repeat(2) })).rejects.toMatchObject({ code: 'WRITE_TIMEOUT' })
  await clock.advance(5_000)
  await sent
  await expect(connection.response.text()).rejects.toThrow()
  expect(clock.pending).toBe(0)
})
