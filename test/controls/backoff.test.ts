import { test } from 'vitest'
import { afterEstablished, afterFailure, afterMaxAge, clampRetry, parseRetryAfter } from '../../src/client/backoff.js'
import { backoff, type MakeClient } from '../property/backoff.js'
import { AFTER_TEN, AT_ONCE, herd, type MakeReader } from '../property/herd.js'
import { finds } from '../property/runs.js'
import { WhatwgParser } from '../support/whatwg-parser.js'

/** Does all as it should be done, but counts its failures anew at every 200: open is not established. */
const resetOnOpen: MakeClient = (url, { fetch, clock }) => {
  let retryMs = 1_000
  let failures = 0
  let quickAt = Number.NEGATIVE_INFINITY
  let cancel = () => {}
  let isClosed = false
  const attempt = async () => {
    const aborter = new AbortController()
    cancel = clock.setTimeout(() => aborter.abort(), 10_000)
    const heard: string[] = []
    let openedAt = Number.POSITIVE_INFINITY
    let floorMs = 0
    try {
      const response = await fetch(url, { signal: aborter.signal })
      cancel()
      if (response.status === 200) failures = 0
      else floorMs = parseRetryAfter(response.headers.get('retry-after'), clock.now())
      if (response.status === 200) openedAt = clock.now()
      const parser = new WhatwgParser(({ type, data }) => {
        heard.push(data.includes('maxAge') ? 'maxAge' : type)
      })
      const reader = response.status === 200 ? response.body?.getReader() : undefined
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
        parser.push(part.value)
        if (parser.retry !== undefined) retryMs = clampRetry(parser.retry)
        if (heard[0] === 'stream:ready' && heard.some((name) => name === 'maxAge' || name === 'stream:end')) break
      }
      await reader?.cancel()
    } catch {
      // It is tried again all the same.
    }
    cancel()
    if (isClosed) return
    const isSteady = heard[0] === 'stream:ready'
    const hasHanded = heard.some((name) => !isSteady || name === 'message' || name === 'stream:gap')
    const isEstablished = hasHanded || clock.now() - openedAt >= 5_000
    if (isEstablished) failures = 0
    const isQuick = isSteady && heard.includes('maxAge') && clock.now() - quickAt >= 5_000
    if (isQuick) quickAt = clock.now()
    const delayMs = isQuick
      ? afterMaxAge(Math.random())
      : isEstablished
        ? afterEstablished(retryMs, Math.random())
        : afterFailure(++failures, Math.max(retryMs, floorMs), Math.random())
    cancel = clock.setTimeout(() => void attempt(), delayMs)
  }
  void attempt()
  return {
    close() {
      isClosed = true
      cancel()
    },
  }
}

/** Comes back after a fixed time, as most clients do. */
const inLockstep: MakeReader = ({ fetch, clock }) => {
  let cancel = () => {}
  let isClosed = false
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  const attempt = async () => {
    try {
      const response = await fetch('http://test/')
      reader = response.body?.getReader()
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read());
    } catch {
      // It is tried again all the same.
    }
    if (!isClosed) cancel = clock.setTimeout(() => void attempt(), 2_000)
  }
  void attempt()
  return () => {
    isClosed = true
    cancel()
    void reader?.cancel()
  }
}

test('a client that counts its failures anew at every open is found', async () => {
  await finds(backoff(resetOnOpen), 400, /attempt \d+ is [\d.]+ ms early/)
})

test('a crowd that comes back after a fixed time is found, whether the server was away or not', async () => {
  await finds(herd(inLockstep, AT_ONCE), 1, /100.0 % of the attempts within 100 ms/)
  await finds(herd(inLockstep, AFTER_TEN), 1, /% of the attempts within 100 ms/)
})
