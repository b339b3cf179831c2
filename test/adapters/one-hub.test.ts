import { readFileSync } from 'node:fs'
import { afterEach, expect, test, vi } from 'vitest'
import { Frames } from '../support/raw-reader.js'
import { until } from '../support/turns.js'

// Of the package's own modules, too, a bundler may make a copy for each route and after each change.

/** What a framework does after a change: all modules run anew. */
async function loaded() {
  vi.resetModules()
  const [{ hub }, { sse }, { createHub, SseError }] = await Promise.all([
    import('./one-hub.js'),
    import('../../src/adapters/web.js'),
    import('../../src/server/index.js'),
  ])
  return { hub, sse, createHub, SseError }
}

afterEach(async () => {
  await globalThis.__hub?.close()
  globalThis.__hub = undefined
})

test('a module that runs twice keeps one hub, and its streams, though the package is loaded twice', async () => {
  const before = await loaded()
  const response = await before.sse(before.hub, { stream: () => 's' })(new Request('http://x/'))
  const after = await loaded()
  expect(after.createHub).not.toBe(before.createHub)
  expect(after.hub).toBe(before.hub)

  // Who was connected before hears what is published after, and new routes serve the old hub.
  const frames = [new Frames(), new Frames()]
  const again = await after.sse(after.hub, { stream: () => 's' })(new Request('http://x/'))
  for (const [index, { body }] of [response, again].entries()) {
    void body?.pipeTo(new WritableStream({ write: (chunk) => frames[index]?.push(chunk) }))
  }
  await after.hub.publish('s', { data: '1' })
  await until(() => frames.every(({ events }) => events.length === 1))
})

test('an error of one copy of the package is one for the other: a closed hub is a 503', async () => {
  const before = await loaded()
  const after = await loaded()
  await before.hub.close()
  const { status } = await after.sse(before.hub, { stream: () => 's' })(new Request('http://x/'))
  expect(status).toBe(503)
  const error: unknown = await before.hub.publish('s', { data: '1' }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(after.SseError)
  expect(new Error('another')).not.toBeInstanceOf(after.SseError)
})

test('the page on adapters shows the module that is tested here', () => {
  expect(readFileSync('docs/adapters.md', 'utf8')).toContain(readFileSync('test/adapters/one-hub.ts', 'utf8').trim())
})
