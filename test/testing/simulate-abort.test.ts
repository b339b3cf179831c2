import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { simulate } from '../../src/testing/simulate.js'
import { turns } from '../support/turns.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('an abort reaches the body and the server, however much was collected before', async () => {
  const isCancelled: boolean[] = []
  const handler = () =>
    new Response(new ReadableStream({ cancel: () => void isCancelled.push(true) }, { highWaterMark: 0 }))
  const fetch = simulate(handler)
  const aborters: AbortController[] = []
  const reads: Promise<unknown>[] = []
  for (let n = 0; n < 20; n++) {
    const aborter = new AbortController()
    aborters.push(aborter)
    const { body } = await fetch('http://test/', { signal: aborter.signal })
    reads.push(
      body
        ?.getReader()
        .read()
        .catch(() => 'broken') ?? Promise.resolve(),
    )
  }
  await turns()
  collect()
  await turns()
  for (const aborter of aborters) aborter.abort()
  expect(await Promise.race([Promise.all(reads), turns(50)])).toEqual(Array(20).fill('broken'))
  expect(isCancelled).toHaveLength(20)
})

test('an abort before the head reaches a server that still works on its answer', async () => {
  const left: boolean[] = []
  const fetch = simulate(({ signal }) => {
    signal.addEventListener('abort', () => left.push(true))
    return new Promise(() => {})
  })
  const aborters = Array.from({ length: 20 }, () => new AbortController())
  for (const { signal } of aborters) fetch('http://test/', { signal }).catch(() => {})
  await turns()
  collect()
  await turns()
  for (const aborter of aborters) aborter.abort()
  await turns()
  expect(left).toHaveLength(20)
})
