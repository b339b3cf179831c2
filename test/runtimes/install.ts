// Installs the runtimes that are not there yet, each with npm into a folder of its own: npm run test:runtimes
import { execFile } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'
import { folderOf, missing, type Runtime, runtimes, titleOf } from './runtimes.js'

const run = promisify(execFile)

// The programs lie in the packages: no script of theirs is needed.
const NPM_INSTALL = ['install', '--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund']

async function install(runtime: Runtime): Promise<void> {
  if (runtime.package === undefined || missing(runtime) === undefined) return
  const folder = folderOf(runtime)
  // What is there is not what is wanted, or only a part of it.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  await run('npm', [...NPM_INSTALL, '--prefix', folder, runtime.package])
}

for (const runtime of runtimes) {
  try {
    await install(runtime)
  } catch {
    await install(runtime)
  }
  console.log(`${titleOf(runtime)}: ${missing(runtime) ?? 'installed'}`)
}
