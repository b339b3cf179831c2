import fc from 'fast-check'
import { test } from 'vitest'
import { type MakeSending, order } from '../property/order.js'
import { finds } from '../property/runs.js'

const RETRY_MS = 1_000

/** The smallest outbox that keeps its order: one request at a time, and what failed stays at the head. */
const headStays: MakeSending = ({ post, clock }) => {
  const queue: { text: string; done: () => void }[] = []
  let isRunning = false
  const run = async () => {
    isRunning = true
    for (let head = queue[0]; head; head = queue[0]) {
      try {
        await post(head.text)
        queue.shift()
        head.done()
      } catch {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS))
      }
    }
    isRunning = false
  }
  return {
    send: (text) =>
      new Promise<void>((done) => {
        queue.push({ text, done })
        if (!isRunning) void run()
      }),
    close() {},
  }
}

/** Puts what failed behind what was sent after it. */
const toTheTail: MakeSending = ({ post, clock }) => {
  const queue: { text: string; done: () => void }[] = []
  let isRunning = false
  const run = async () => {
    isRunning = true
    for (let head = queue.shift(); head; head = queue.shift()) {
      try {
        await post(head.text)
        head.done()
      } catch {
        queue.push(head)
        await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS))
      }
    }
    isRunning = false
  }
  return {
    send: (text) =>
      new Promise<void>((done) => {
        queue.push({ text, done })
        if (!isRunning) void run()
      }),
    close() {},
  }
}

/** Sends at once what is sent while a flush is under way. */
const overtaking: MakeSending = ({ post, clock }) => {
  const failed: { text: string; done: () => void }[] = []
  let flush: (() => void) | undefined
  const attempt = async (text: string, done: () => void): Promise<void> => {
    try {
      await post(text)
      done()
    } catch {
      failed.push({ text, done })
      flush ??= clock.setTimeout(() => {
        flush = undefined
        for (const one of failed.splice(0)) void attempt(one.text, one.done)
      }, RETRY_MS)
    }
  }
  return { send: (text) => new Promise<void>((done) => void attempt(text, done)), close: () => flush?.() }
}

test('an outbox whose failed head stays at the head keeps its order', async () => {
  await fc.assert(order(headStays), { numRuns: 200 })
})

test('an outbox that puts what failed at its tail is found', async () => {
  await finds(order(toTheTail), 200, /out of order/)
})

test('an outbox in which a send overtakes a flush is found', async () => {
  await finds(order(overtaking), 200, /out of order/)
})
