import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

// These look at the built package. The others run from the sources and need no build.
const built = [
  'test/bench.test.ts',
  'test/package.test.ts',
  'test/package/**/*.test.ts',
  'test/playground.test.ts',
  'test/browser/**/*.test.ts',
  'test/runtimes/**/*.test.ts',
]

// Examples import the package by its name. From the sources, that means them: what an entry's `types` name is made from
// the source of the same name, as in tsup.config.ts.
const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string | { types: string }>
}
const alias = Object.entries(exports).flatMap(([entry, target]) => {
  if (typeof target === 'string' || entry.startsWith('./browser/')) return []
  const source = target.types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts')
  return { find: new RegExp(`^steady-sse${entry.slice(1)}$`), replacement: resolve(source) }
})

export default defineConfig({
  test: {
    testTimeout: 15_000,
    hookTimeout: 30_000,
    // An error that no test caught fails the run, even if every test passed.
    dangerouslyIgnoreUnhandledErrors: false,
    // CI counts from the file.
    reporters: process.env.CI ? ['default', ['json', { outputFile: '.ci-artifacts/vitest.json' }]] : ['default'],
    coverage: { include: ['src/**'], reporter: ['text', 'html'] },
    projects: [
      { extends: true, resolve: { alias }, test: { name: 'source', include: ['test/**/*.test.ts'], exclude: built } },
      {
        extends: true,
        test: {
          name: 'built',
          include: built,
          globalSetup: 'test/build.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxConcurrency: 3,
        },
      },
    ],
  },
})
