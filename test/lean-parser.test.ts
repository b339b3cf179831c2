import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { leanParser } from '../parser.config.js'

const require = createRequire(import.meta.url)
const { transform } = createRequire(require.resolve('tsup'))('esbuild')
const whole = readFileSync(require.resolve('eventsource-parser').replace('index.js', 'parse.js'), 'utf8')
const lean = await leanParser(whole, transform)
const { createParser: createLeanParser } = (await import(`data:text/javascript,${encodeURIComponent(lean)}`)) as {
  createParser: typeof createParser
}

/** What a parser says of text that comes in pieces. */
function read(create: typeof createParser, pieces: readonly string[]): unknown[] {
  const said: unknown[] = []
  const parser = create({
    onEvent: (event: EventSourceMessage) => said.push(event),
    onId: (id) => said.push(`id ${id}`),
    onRetry: (ms) => said.push(ms),
  })
  for (const piece of pieces) parser.feed(piece)
  return said
}

const line = fc.constantFrom(
  ...['data: ä€😀', 'data:x', 'data', 'event: tick', 'event:', 'id: 7', 'id:\0', 'id', 'retry: 5', 'retry: x'],
  ...[': a comment', ':', 'junk', 'd', 'dat', 'date: 1', 'data : 1', 'eve', 'r: 1', '', ''],
)
const stream = fc
  .tuple(
    fc.constantFrom('', '\uFEFF', '\uFEFF\uFEFF', '\xEF\xBB\xBF', '\xEF\xBB'),
    fc.array(fc.tuple(line, fc.constantFrom('\n', '\n', '\r', '\r\n'))),
  )
  .map(([start, lines]) => start + lines.flat().join(''))

test('the parser that is compiled in says what the whole one says, however the text is cut', () => {
  fc.assert(
    fc.property(stream, fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1 }), (text, sizes) => {
      const pieces: string[] = []
      for (let at = 0, turn = 0; at < text.length; turn++) {
        const size = sizes[turn % sizes.length] || Math.min(turn, 1)
        pieces.push(text.slice(at, at + size))
        at += size
      }
      expect(read(createLeanParser, pieces)).toEqual(read(createParser, pieces))
    }),
    { numRuns: 2_000 },
  )
})

test('of what is never asked for, nothing is left', () => {
  expect(lean).not.toMatch(/maxBufferSize|onComment|onError|ParseError|terminated|checkForBufferOverflow|reset/)
})

test.each([
  ['let terminated = false;', ''],
  ['let terminated = false;', 'let terminated = false;\n    let terminated = false;'],
  ['maxBufferSize, onComment, onError, ', 'onComment, maxBufferSize, onError, '],
])('a parser with %j in another form is not compiled in', async (from, to) => {
  await expect(leanParser(whole.replace(from, to), transform)).rejects.toThrow('eventsource-parser has changed')
})
