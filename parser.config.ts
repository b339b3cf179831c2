// eventsource-parser as it is compiled in: without what this package never asks it for, which no bundler can find out
// (a bound on its buffer, comments, the errors it would report, `reset`). The rest is its own code: 0.5 kB less of 1.6.
import { readFile } from 'node:fs/promises'
import type { Options } from 'tsup'

type Plugin = NonNullable<Options['esbuildPlugins']>[number]
type Transform = Parameters<Plugin['setup']>[0]['esbuild']['transform']

/** What is cut out: from, up to and with. Each must be there once, or the build fails: the parser has changed. */
const CUTS: readonly (readonly [from: string, to: string])[] = [
  ["import { ParseError } from './errors.js';", '\n'],
  ["    if (typeof config === 'function') {", '\n    }\n'],
  ['    let terminated = false;', '\n'],
  ['    function checkForBufferOverflow() {', '\n    }\n'],
  ['    function reset(options', '\n    }\n'],
  // With its declaration gone, a name is what it is defined to be below.
  ['maxBufferSize, onComment, onError, ', ''],
  [', reset', ''],
]
const NEVER = { maxBufferSize: 'undefined', onComment: 'undefined', onError: 'undefined', terminated: 'false' }

export async function leanParser(source: string, transform: Transform): Promise<string> {
  let text = source
  for (const [from, to] of CUTS) {
    const [before, after, ...more] = text.split(from)
    const end = after?.indexOf(to) ?? -1
    if (end < 0 || more.length > 0) throw new Error(`eventsource-parser has changed: look for ${JSON.stringify(from)}`)
    text = `${before}${after?.slice(end + to.length)}`
  }
  text = text.replaceAll('checkForBufferOverflow()', 'false')
  const { code } = await transform(text, { define: NEVER, minifySyntax: true, target: 'es2022' })
  return code
}

/** Puts it in the place of the whole one. */
export const leanParserPlugin: Plugin = {
  name: 'lean-parser',
  setup(build) {
    build.onLoad({ filter: /eventsource-parser[\\/]dist[\\/]parse\.js$/ }, async ({ path }) => ({
      contents: await leanParser(await readFile(path, 'utf8'), build.esbuild.transform),
    }))
  },
}
