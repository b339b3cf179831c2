import { test } from 'vitest'
import { connect } from '../../src/client/index.js'
import type { StreamItem } from '../../src/protocol/event.js'
import { acks, type MakeAcking } from '../property/acks.js'
import { finds } from '../property/runs.js'

/** Reads ahead of its consumer, and acknowledges what came. */
const acksWhatCame: MakeAcking = (url, options) => {
  const stream = connect(url, { acks: '/acks', ...options })
  const queue: StreamItem[] = []
  let come = () => {}
  void (async () => {
    for await (const item of stream) {
      queue.push(item)
      come()
    }
    come()
  })()
  return {
    async next() {
      if (queue.length === 0) await new Promise<void>((resolve) => (come = resolve))
      const value = queue.shift()
      return value ? { done: false, value } : { done: true, value: undefined }
    },
    close: () => stream.close(),
  }
}

/** Acknowledges what was finished, each item by itself. */
const acksEach: MakeAcking = (url, { fetch, clock }) => {
  const stream = connect(url, { fetch, clock })
  const items = stream[Symbol.asyncIterator]()
  return {
    next() {
      const next = items.next()
      const { connection, cursor } = stream
      const body = JSON.stringify({ connection, cursor })
      if (connection) fetch('http://test/acks', { method: 'POST', body }).catch(() => {})
      return next
    },
    close: () => stream.close(),
  }
}

test('a client that acknowledges what it has received, finished or not, is found', async () => {
  await finds(acks(acksWhatCame), 300, /was not finished/)
})

test('a client that acknowledges each item by itself is found', async () => {
  await finds(acks(acksEach), 300, /ms after the last/)
})
