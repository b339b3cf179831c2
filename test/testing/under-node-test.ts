// Run with `node --test`: the suites know no test runner.
import { test } from 'node:test'
import { memoryStore } from '../../src/stores/memory.js'
import { sourceConformance, storeConformance } from '../../src/testing/index.js'
import { emitterHarness } from './sources.js'

const store = () => {
  const present = memoryStore()
  return { open: () => present, close() {} }
}

for (const each of [...storeConformance(store), ...sourceConformance(emitterHarness)]) {
  test(each.name, async (context) => {
    await each.run()
    if (each.skipped) context.skip(each.skipped)
  })
}
