import { expect, test } from 'vitest'
import { turn } from '../../src/protocol/clock.js'
import { SseError } from '../../src/protocol/error.js'
import type { Appended } from '../../src/protocol/store.js'
import { PostgresLocks } from '../../src/stores/postgres-locks.js'
import { PostgresWriters } from '../../src/stores/postgres-writer.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'

function setUp(maxChars = 10_000) {
  const clock = virtualClock()
  const sent: string[] = []
  const answers = new Map<string, () => void>()
  const writers = new PostgresWriters({
    clock: () => clock,
    maxChars,
    timeoutMs: 10_000,
    async append(stream, events) {
      sent.push(`${stream} ${events.map(({ data }) => data[0]).join('')}`)
      await new Promise<void>((resolve) => answers.set(stream, resolve))
      return events.map((): Appended => ({ epoch: 'e', offset: 1, tag: 1, duplicate: false, previousTag: 0 }))
    },
  })
  const outcomes: string[] = []
  /** @param chars - how much it holds, all told. */
  const publish = (stream: string, name: string, chars = 100, signal?: AbortSignal) =>
    (async () =>
      writers.append(stream, [{ event: undefined, data: name.padEnd(chars - 64), key: undefined }], signal))().then(
      () => outcomes.push(`${name} written`),
      (error: Error) => outcomes.push(`${name} ${error instanceof SseError ? error.code : error.name}`),
    )
  const answer = async (stream: string) => {
    answers.get(stream)?.()
    await turn()
  }
  return { clock, sent, outcomes, publish, answer }
}

test('what has waited too long is rejected, is never sent, and makes room', async () => {
  const { clock, sent, outcomes, publish, answer } = setUp()
  void publish('s', 'a')
  await turn()
  void publish('s', 'b', 4_000)
  void publish('t', 'x')
  await turn()
  await answer('t')
  await clock.advance(11_000)
  expect(outcomes).toEqual(['x written', 'b STORE_UNAVAILABLE'])
  void publish('s', 'c', 4_000)
  await answer('s')
  expect(sent).toEqual(['s a', 't x', 's c'])
  await answer('s')
  expect(outcomes.slice(2)).toEqual(['a written', 'c written'])
  expect(clock.pending).toBe(0)
})

test('a publish that is aborted while it waits makes room at once; one that is under way goes on', async () => {
  const { sent, outcomes, publish, answer } = setUp()
  const abort = new AbortController()
  void publish('s', 'a', 100, abort.signal)
  await turn()
  void publish('s', 'b', 4_000, abort.signal)
  await turn()
  abort.abort()
  await turn()
  expect(outcomes).toEqual(['b AbortError'])
  void publish('s', 'c', 4_000)
  await answer('s')
  await answer('s')
  expect([sent, outcomes]).toEqual([
    ['s a', 's c'],
    ['b AbortError', 'a written', 'c written'],
  ])
})

test('a stream that is locked leaves room for the others', async () => {
  const { outcomes, publish } = setUp()
  void publish('locked', 'a')
  await turn()
  for (let n = 0; n < 100; n++) void publish('locked', 'b', 1_000)
  await turn()
  expect(outcomes).toEqual(Array.from({ length: 95 }, () => 'b OVERLOADED'))
  for (const stream of ['another', 'a third']) {
    void publish(stream, 'x')
    await turn()
    void publish(stream, 'y', 1_200)
  }
  await turn()
  expect(outcomes).toHaveLength(95)
})

test('few wait in the database for a stream that is locked; the others look again from time to time', async () => {
  const clock = virtualClock()
  const locks = new PostgresLocks({ clock: () => clock, patienceMs: 8_000, maxWaiting: 2 })
  let [now, most, long] = [0, 0, 0]
  const work = async (lockMs: number) => {
    if (lockMs > 200) long++
    most = Math.max(most, ++now)
    await new Promise<void>((resolve) => clock.setTimeout(resolve, lockMs))
    now--
    throw Object.assign(new Error('lock timeout'), { code: '55P03' })
  }
  const errors: unknown[] = []
  for (let n = 0; n < 10; n++) locks.run(`s${n}`, work).catch((error: unknown) => errors.push(error))
  await clock.advance(300)
  most = 0
  await clock.advance(2_000)
  expect([errors.length, long]).toEqual([0, 2])
  await clock.advance(6_000)
  expect(errors).toHaveLength(10)
  for (const error of errors) {
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('nothing was written') })
  }
  expect([now, clock.pending]).toEqual([0, 0])
})
