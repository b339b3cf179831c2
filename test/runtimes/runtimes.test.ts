import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, type TestContext, test } from 'vitest'
import { Consumer } from './consumer.js'
import { missing, type Runtime, runtimes, titleOf } from './runtimes.js'
import { startWorkerd } from './workerd.js'

/** What came of one check, with what it measured. */
interface Check {
  readonly ok: boolean
  readonly error?: string
  readonly ms?: number
  readonly [measure: string]: unknown
}

interface Report {
  readonly runtime: string
  readonly version: string
  readonly results: Readonly<Record<string, Readonly<Record<string, Check>>>>
}

const run = promisify(execFile)
/** A busy machine only makes it slow. */
const LIMIT_MS = 120_000
const CHECKS = ['cut', 'heartbeat', 'idle', 'leave', 'publish', 'require', 'resume', 'seal', 'stall']
const here: Runtime = { name: 'Node', version: process.versions.node, package: '', program: process.execPath }
const measured: Record<string, object> = {}

let consumer: Consumer

beforeAll(() => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  consumer = new Consumer()
})
afterAll(() => {
  consumer?.[Symbol.dispose]()
  console.table(measured)
})

const options = { concurrent: true, timeout: LIMIT_MS }

describe('publish, read, cut, resume, stall, heartbeat, seal, with server and client in', options, () => {
  for (const runtime of [here, ...runtimes.filter(({ name }) => name !== 'workerd')]) {
    for (const adapter of ['node', 'web']) {
      const title = `${titleOf(runtime)}, steady-sse/${adapter}`
      test(title, async (context) => {
        skipWithout(runtime, context)
        const { runtime: name, version, results } = await smoke(runtime, adapter)
        expect(`${name} ${version}`).toBe(titleOf(runtime).toLowerCase())
        keep(title, results[adapter])
      })
    }
  }
})

describe('the same with the hub in a Durable Object, in', options, () => {
  for (const runtime of runtimes.filter(({ name }) => name === 'workerd')) {
    // A worker of the older date finds neither MessageChannel nor setImmediate, and its fetch refuses `cache`.
    for (const date of [runtime.version, '2024-09-23']) {
      const title = `${titleOf(runtime)}, compatibility date ${date}, steady-sse/web`
      test(title, async (context) => {
        skipWithout(runtime, context)
        await using server = await startWorkerd(runtime.program, consumer.folder, date)
        const { results } = await smoke(here, server.url)
        keep(title, results.elsewhere)
        await fetch(`${server.url}/control/publish?stream=x&first=1&count=3`)
        const inWorker = await fetch(`${server.url}/client?count=3&url=${server.url}/events/x`)
        expect(await inWorker.json(), 'read by a client in the worker').toEqual([1, 2, 3])
      })
    }
  }
})

describe('a SQLite store over `node:sqlite` is what a store must be, in', options, () => {
  for (const runtime of runtimes.filter(({ name }) => name === 'Node')) {
    test(titleOf(runtime), async (context) => {
      skipWithout(runtime, context)
      const { stdout } = await run(runtime.program, ['node-sqlite.mjs'], { cwd: consumer.folder, timeout: LIMIT_MS })
      const { passed, failed } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}')
      expect(failed).toEqual([])
      expect(passed).toBeGreaterThan(40)
    })
  }
})

test('the README names each runtime with its version', () => {
  const rows = readFileSync('README.md', 'utf8').split('\n')
  const unnamed = runtimes.filter(
    ({ name, version }) => !rows.some((row) => row.startsWith(`| ${name} `) && row.includes(version)),
  )
  expect(unnamed.map(titleOf)).toEqual([])
})

function skipWithout(runtime: Runtime, { skip }: TestContext): void {
  const reason = runtime === here ? undefined : missing(runtime)
  if (reason === undefined) return
  if (process.env.CI) throw new Error(`${titleOf(runtime)}: ${reason}`)
  skip(reason)
}

/** Runs the smoke. That it ends by itself is a part of it: no timer and no socket is left behind. */
async function smoke({ name, program }: Runtime, what: string): Promise<Report> {
  const flags = name === 'Deno' ? ['run', '--no-lock', '--cached-only', '--node-modules-dir=manual', '--allow-all'] : []
  const { stdout } = await run(program, [...flags, 'smoke.mjs', what], {
    cwd: consumer.folder,
    timeout: LIMIT_MS,
    env: { ...process.env, DENO_DIR: join(consumer.folder, '.deno'), DENO_NO_UPDATE_CHECK: '1' },
  })
  return JSON.parse(stdout.split('\n').find((line) => line.startsWith('{"runtime"')) ?? '{}') as Report
}

function keep(title: string, results: Readonly<Record<string, Check>> = {}): void {
  expect(Object.entries(results).filter(([, { ok }]) => !ok)).toEqual([])
  expect(Object.keys(results).sort()).toEqual(CHECKS)
  measured[title] = {
    'event after ms': results.publish?.latencyMs,
    '3 cuts, ms': results.cut?.ms,
    'stalled: cut after ms': results.stall?.afterMs,
    'taken MiB': results.stall?.takenMiB,
    'heartbeats, ms': String(results.heartbeat?.everyMs),
    'leaving heard after ms': results.leave?.heardMs,
  }
}
