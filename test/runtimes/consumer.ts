import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** A project outside of the repository, in which the built package is installed and the programs of the smoke lie. */
export class Consumer implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'steady-sse-'))

  constructor() {
    const here = (...path: string[]) => join(this.folder, ...path)
    const ours = 'node_modules/steady-sse'
    cpSync('dist', here(ours, 'dist'), { recursive: true })
    cpSync('package.json', here(ours, 'package.json'))
    // What makes a server of a fetch-style handler on Node.
    mkdirSync(here('node_modules/@hono'))
    for (const name of ['hono', '@hono/node-server'])
      symlinkSync(resolve('node_modules', name), here('node_modules', name))
    writeFileSync(here('package.json'), JSON.stringify({ private: true, type: 'module' }))
    const programs = readdirSync('test/runtimes').filter((name) => name.endsWith('.mjs'))
    for (const name of programs) cpSync(join('test/runtimes', name), here(name))
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
