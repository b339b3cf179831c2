import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

// What the release workflow asks before it publishes.
const CHECK = resolve('.ci/release-check.mjs')
const NOTES =
  '# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n### Added\n\n- Much.\n\n## [1.2.2] - 2025-12-01\n'
const HERE = { url: 'git+https://github.com/someone/steady-sse.git' }

test('a release goes on when the tag, the manifest and the changelog agree', async () => {
  expect(await checked({ version: '1.2.3', repository: HERE }, NOTES)).toBe('')
})

test.each([
  [
    'another version',
    { version: '1.2.4', repository: HERE },
    NOTES,
    'The tag is v1.2.3, and package.json has version 1.2.4',
  ],
  [
    'no notes',
    { version: '1.2.3', repository: HERE },
    NOTES.replace('[1.2.3]', '[1.2.1]'),
    'says nothing under "## [1.2.3]"',
  ],
  [
    'empty notes',
    { version: '1.2.3', repository: HERE },
    NOTES.replace(/### Added\n\n- Much.\n\n/, ''),
    'says nothing',
  ],
  [
    'no repository',
    { version: '1.2.3' },
    NOTES,
    'npm pkg set repository.url=git+https://github.com/someone/steady-sse.git',
  ],
])('a release stops at %s', async (_, manifest, changelog, complaint) => {
  expect(await checked(manifest, changelog)).toContain(complaint)
})

async function checked(manifest: object, changelog: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'steady-sse-release-'))
  cpSync(CHECK, join(folder, 'check.mjs'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(folder, 'CHANGELOG.md'), changelog)
  return new Promise((done) => {
    execFile(process.execPath, ['check.mjs', 'v1.2.3', 'someone/steady-sse'], { cwd: folder }, (error, _, stderr) => {
      rmSync(folder, { recursive: true })
      done(error ? stderr || String(error) : stderr)
    })
  })
}
