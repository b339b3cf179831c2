import { readFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'
import { leanParserPlugin } from './parser.config.js'

// The `exports` of package.json are the one list of entries. What an entry's `types` name is made from
// the source of the same name, and its `default` is where the code goes:
// dist/stores/memory.d.ts ← src/stores/memory.ts → dist/stores/memory.js
interface Entry {
  readonly types: string
  readonly default: string
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, Entry | string>
  bin: Record<string, string>
}
const entries = Object.values(manifest.exports)
  .filter((entry) => typeof entry === 'object')
  .map((entry) => ({
    output: entry.default.replace('./dist/', '').replace(/\.js$/, ''),
    source: entry.types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts'),
  }))

// Commands are made in the same way, and are no one's to import.
for (const path of Object.values(manifest.bin)) {
  const output = path.replace('./dist/', '').replace(/\.js$/, '')
  entries.push({ output, source: `src/${output}.ts` })
}

const isBrowserFile = (entry: { output: string }) => entry.output.startsWith('browser/')
const entry = (list: typeof entries) => Object.fromEntries(list.map(({ output, source }) => [output, source]))

const common: Options = {
  format: 'esm',
  target: 'es2022',
  // `node:http` stays `node:http`: not every runtime knows it by the bare name.
  removeNodeProtocol: false,
  external: [/^node:/],
  // Its `engines` ask for more than ours do, and so it is compiled in (THIRD-PARTY.md).
  noExternal: ['eventsource-parser'],
  esbuildPlugins: [leanParserPlugin],
}

export default defineConfig([
  {
    ...common,
    entry: entry(entries.filter((each) => !isBrowserFile(each))),
    platform: 'neutral',
    // Without splitting each entry has its own `SseError`, and `instanceof` fails across entries.
    splitting: true,
    dts: true,
  },
  {
    ...common,
    entry: entry(entries.filter(isBrowserFile)),
    platform: 'browser',
    noExternal: [/./],
    splitting: false,
    minify: true,
    banner: {
      js: '/*! steady-sse, MIT. With eventsource-parser, (c) Espen Hovlandsdal, or p-queue and p-timeout, (c) Sindre Sorhus, and eventemitter3, (c) Arnout Kazemier, all MIT: see THIRD-PARTY.md */',
    },
  },
])
