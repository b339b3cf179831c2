import { defineConfig } from 'vitest/config'

// These look at the built package. The others run from the sources and need no build.
const built = [
  'test/package.test.ts',
  'test/playground.test.ts',
  'test/browser/**/*.test.ts',
  'test/runtimes/**/*.test.ts',
]

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
      { extends: true, test: { name: 'source', include: ['test/**/*.test.ts'], exclude: built } },
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
