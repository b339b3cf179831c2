import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Why the package could not be built; empty when it stands in `dist`. */
    buildError: string
  }
}

const inputs = ['package.json', 'tsconfig.json', 'tsup.config.ts']

/** Before the tests of the built package: builds it, unless it is newer than all that it is made from. */
export default function setup(project: TestProject): void {
  let buildError = ''
  if (isStale()) {
    try {
      execFileSync('npm', ['run', 'build'], { encoding: 'utf8', stdio: 'pipe' })
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      buildError = `\`npm run build\` failed:\n${stdout}${stderr}`
    }
  }
  project.provide('buildError', buildError)
}

function isStale(): boolean {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, object | string> }
  const outputs = Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === 'object' ? Object.values<string>({ ...entry }) : [],
  )
  const changed = [...inputs, 'src', ...readdirSync('src', { recursive: true, encoding: 'utf8' }).map(inSrc)].map(mtime)
  return Math.min(...outputs.map(mtime)) < Math.max(...changed)
}

const inSrc = (path: string) => join('src', path)

/** When `path` was last changed (a folder: when a file came or went), -Infinity when it is not there. */
function mtime(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY
}
