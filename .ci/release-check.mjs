// Before a release: `node .ci/release-check.mjs <tag> [owner/repository]`. Says what does not agree, all of it at once.
import { readFileSync } from 'node:fs'

const [tag = '', slug] = process.argv.slice(2)
const { version, repository } = JSON.parse(readFileSync('package.json', 'utf8'))
const changelog = readFileSync('CHANGELOG.md', 'utf8')
const [, notes = ''] = changelog.split(`\n## [${version}]`)
const wrong = []

if (tag !== `v${version}`) wrong.push(`The tag is ${tag || 'missing'}, and package.json has version ${version}.`)
if (!/^[^\n]*\n\s*(?!## )\S/.test(notes)) wrong.push(`CHANGELOG.md says nothing under "## [${version}]".`)
// npm refuses a provenance that comes from another place than the manifest names.
if (slug && !repository?.url?.includes(`github.com/${slug}`)) {
  wrong.push(`package.json must name the repository: npm pkg set repository.url=git+https://github.com/${slug}.git`)
}

for (const line of wrong) console.error(line)
process.exitCode = wrong.length > 0 ? 1 : 0
