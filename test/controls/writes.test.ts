import { test } from 'vitest'
import { SseError } from '../../src/protocol/error.js'
import { finds } from '../property/runs.js'
import { type Write, writes } from '../property/writes.js'

const encoder = new TextEncoder()

/** The writer that waits for drain or a timeout, and for nothing else: who leaves is noticed by the timeout. */
const deafToClose: Write = async (target, frame, { timeoutMs, clock, signal }) => {
  signal.throwIfAborted()
  if (target.write(encoder.encode(frame))) return
  await new Promise<void>((resolve, reject) => {
    const done = () => {
      cancel()
      target.off('drain', done)
      resolve()
    }
    const cancel = clock.setTimeout(() => {
      target.off('drain', done)
      reject(new SseError('WRITE_TIMEOUT', 'write timeout'))
      target.destroy()
    }, timeoutMs)
    target.on('drain', done)
    signal.addEventListener('abort', () => {
      reject(signal.reason)
      done()
    })
  })
}

/** The one that races drain with a timer, and forgets the timer. */
const forgetfulOfTimers: Write = async (target, frame, { timeoutMs, clock, signal }) => {
  if (target.destroyed) throw new SseError('CLOSED', 'closed')
  signal.throwIfAborted()
  if (target.write(encoder.encode(frame))) return
  if (target.destroyed) throw new SseError('CLOSED', 'closed')
  await new Promise<void>((resolve, reject) => {
    const over = (how: () => void) => () => {
      target.off('drain', drained).off('close', closed)
      how()
    }
    const drained = over(resolve)
    const closed = over(() => reject(new SseError('CLOSED', 'closed')))
    target.on('drain', drained).on('close', closed)
    signal.addEventListener(
      'abort',
      over(() => reject(signal.reason)),
    )
    clock.setTimeout(
      over(() => reject(new SseError('WRITE_TIMEOUT', 'late'))),
      timeoutMs,
    )
  })
}

/** The one that never looks at what `write` returns. */
const blind: Write = async (target, frame, { signal }) => {
  signal.throwIfAborted()
  target.write(encoder.encode(frame))
  if (target.destroyed) throw new SseError('CLOSED', 'closed')
}

test('a writer that waits for drain or deadline, but not for close, is found', async () => {
  await finds(writes(deafToClose), 100, /ended as .*, not as \{"how":"CLOSED"/)
})

test('a writer that leaves a timer behind per drain is found', async () => {
  await finds(writes(forgetfulOfTimers), 100, /left 1 timers behind/)
})

test('a writer that ignores the result of a write is found', async () => {
  await finds(writes(blind), 100, /ended as \{"how":"room","at":0\}, not as/)
})
