import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { receive, sse } from '../../src/adapters/node.js'
import { createHub } from '../../src/server/index.js'
import { memoryReceipts, memoryStore } from '../../src/stores/memory.js'
import { type Installation, install } from './installed.js'

// The tarball, installed by npm into projects that have nothing else, as its users do it.
const CHROMIUM = '/usr/bin/chromium'
const FRAMEWORKS = ['express', 'fastify', 'hono']
const LIB = ['ES2022', 'DOM', 'DOM.Iterable', 'ESNext.Disposable']
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, object | string> }
const names = Object.entries(manifest.exports).flatMap(([key, entry]) =>
  typeof entry === 'object' ? [key.replace(/^\./, 'steady-sse')] : [],
)

let installed: Installation
let missing = ''

beforeAll(async () => {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  try {
    installed = await install()
  } catch (error) {
    if (process.env.CI || !isOffline(error)) throw error
    missing = 'the registry cannot be reached, and p-queue is not in the cache of npm'
  }
})
beforeEach(({ skip }) => {
  if (missing) skip(missing)
})
afterAll(() => installed?.[Symbol.dispose]())

test('the package brings its queue with what that needs, and nothing else', () => {
  expect([...installed.packages].sort()).toEqual(['eventemitter3', 'p-queue', 'p-timeout', 'steady-sse'])
})

test('a project of ES modules imports every entry', async () => {
  const code = `${names.map((name, n) => `import * as m${n} from '${name}'`).join('\n')}
    console.log([${names.map((_, n) => `m${n}`).join()}].filter((m) => Object.keys(m).length > 0).length)`
  const project = installed.project({ 'package.json': '{ "type": "module" }', 'main.js': code })
  expect(await project.node('main.js')).toBe(String(names.length))
})

test('a project of CommonJS requires every entry', async () => {
  const code = `console.log(${JSON.stringify(names)}.filter((name) => Object.keys(require(name)).length > 0).length)`
  const project = installed.project({ 'package.json': '{ "type": "commonjs" }', 'main.js': code })
  expect(await project.node('main.js')).toBe(String(names.length))
})

test('the command runs', async () => {
  const project = installed.project({})
  expect(readdirSync(join(project.folder, 'node_modules/.bin'))).toContain('steady-sse')
  expect(await project.node('node_modules/.bin/steady-sse', '--help')).toContain('steady-sse')
})

describe.each([
  ['bundler', 'esnext', 'module'],
  ['nodenext', 'nodenext', 'module'],
  ['nodenext', 'nodenext', 'commonjs'],
])('a TypeScript project with moduleResolution %s, module %s, type %s', (moduleResolution, module, type) => {
  const options = { module, moduleResolution, lib: LIB }
  const project = (code: string, linked?: string[]) =>
    installed.project({ 'package.json': JSON.stringify({ type }), 'main.ts': code }, linked)

  test('knows the types of every entry that asks for no others, and checks them whole', async () => {
    const alone = names.filter((name) => ![...FRAMEWORKS, 'node'].includes(name.replace('steady-sse/', '')))
    const { tsc } = project(`${imports(alone)}\n${USE}`)
    expect(await tsc({ ...options, skipLibCheck: false }, 'main.ts')).toBe('')
  })

  test('needs no types of the DOM where there are those of Node', async () => {
    const alone = names.filter((name) => !FRAMEWORKS.includes(name.replace('steady-sse/', '')))
    const { tsc } = project(`${imports(alone)}\n${USE}`, ['@types/node'])
    const lib = ['ES2023', 'ESNext.Disposable']
    expect(await tsc({ ...options, lib, types: ['node'], skipLibCheck: false }, 'main.ts')).toBe('')
  })

  test('knows the types of the adapters when those of Node and the frameworks are there', async () => {
    const { tsc } = project(`${imports(names)}\n${USE}\n${USE_ADAPTERS}`, [
      ...FRAMEWORKS,
      '@types/node',
      '@types/express',
    ])
    expect(await tsc({ ...options, types: ['node'], skipLibCheck: true }, 'main.ts')).toBe('')
  })
})

test('the first screen of the README runs: a client, and a server that is stopped and started again', async () => {
  const blocks = [...readFileSync('README.md', 'utf8').matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
    ([, code = '']) => code,
  )
  const [server = '', client = ''] = blocks
  // Its port may be taken here.
  const written = /listen\((\d+)/.exec(server)?.[1] ?? 'none'
  const port = String(await freePort())
  const files = { 'server.mjs': server.replaceAll(written, port), 'client.mjs': client.replaceAll(written, port) }
  await using both = processes(installed.project(files, ['express']).folder)
  const first = both.start('server.mjs')
  const reader = both.start('client.mjs')
  await reader.prints('tick {"time":')
  await first.stop()
  both.start('server.mjs')
  await reader.prints('gap: epoch, missed: unknown')
  await reader.prints('tick {"time":')
})

test('a page that Vite builds reads a stream and sends messages, in a browser', async ({ skip }) => {
  if (!existsSync(CHROMIUM)) {
    if (process.env.CI) throw new Error(`${CHROMIUM} is not there`)
    skip(`${CHROMIUM} is not there`)
  }
  const { folder } = installed.project({
    'package.json': '{ "type": "module" }',
    'index.html': '<!doctype html><title>page</title><ul></ul><script type="module" src="./main.js"></script>',
    'main.js': PAGE,
  })
  const { build } = await import('vite')
  await build({ root: folder, logLevel: 'error', configFile: false })

  const hub = createHub({ store: memoryStore() })
  const events = sse(hub, { stream: () => 'page' })
  const messages = receive(
    async ({ text }: { text: string }) => ({ at: (await hub.publish('page', { data: `heard ${text}` })).cursor }),
    { receipts: memoryReceipts() },
  )
  await using site = await served((request, response) => {
    const path = new URL(request.url ?? '/', 'http://site').pathname
    if (path === '/events') return events(request, response)
    if (path === '/messages') return messages(request, response)
    const file = join(folder, 'dist', path === '/' ? 'index.html' : path)
    if (!existsSync(file)) return response.writeHead(404).end()
    const type = path.endsWith('.js') ? 'text/javascript' : 'text/html'
    return response.writeHead(200, { 'content-type': type }).end(readFileSync(file))
  })
  await using browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  const page = await browser.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  await page.goto(site.url)
  await page.locator('li', { hasText: 'heard hello' }).waitFor()
  await page.locator('li', { hasText: 'accepted 200' }).waitFor()
  await hub.seal('page')
  await page.locator('li', { hasText: 'the end' }).waitFor()
  expect(faults).toEqual([])
  await hub.close()
})

const PAGE = `
  import { connect } from 'steady-sse/client'
  import { createOutbox } from 'steady-sse/outbox'

  const show = (text) => document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: text }))
  const stream = connect('/events')
  const outbox = createOutbox('/messages', { stream })
  stream.ready.then(() => outbox.send({ text: 'hello' })).then(({ status }) => show('accepted ' + status))
  for await (const item of stream) show(item.type === 'gap' ? 'gap' : item.data)
  show('the end')`

/** Types that are there, and are not \`any\`: what is expected to be wrong is. */
const USE = `
  import { connect } from 'steady-sse/client'
  import { memoryStore } from 'steady-sse/memory'
  import { createOutbox } from 'steady-sse/outbox'
  import { createHub, type Hub } from 'steady-sse/server'
  const hub: Hub = createHub({ store: memoryStore() })
  export async function use(): Promise<string> {
    // @ts-expect-error a stream has a name
    await hub.publish(1, { data: '' })
    // @ts-expect-error there is no such option
    createOutbox('/messages', { maxItem: 1 })
    for await (const item of connect('/events')) if (item.type === 'gap') return item.reason
    return (await hub.publish('news', { data: '' })).cursor
  }`
const USE_ADAPTERS = `
  import express from 'express'
  import { sse as onExpress } from 'steady-sse/express'
  import { sse as onFastify } from 'steady-sse/fastify'
  import { sse as onHono } from 'steady-sse/hono'
  import { sse as onNode } from 'steady-sse/node'
  import { createServer } from 'node:http'
  import { Hono } from 'hono'
  import { fastify } from 'fastify'
  express().get('/', onExpress(hub, { stream: (request) => request.path }))
  fastify().get('/', onFastify(hub, { stream: (request) => request.url }))
  new Hono().get('/', onHono(hub, { stream: (c) => c.req.path }))
  createServer(onNode(hub, { stream: (request) => request.url ?? '' }))
  // @ts-expect-error a stream has a name
  onNode(hub, { stream: () => 1 })`

function isOffline(error: unknown): boolean {
  return /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTCACHED/.test(String(error))
}

function imports(list: readonly string[]): string {
  const lines = list.map((name, n) => `import * as m${n} from '${name}'`)
  return `${lines.join('\n')}\nexport const all: object[] = [${list.map((_, n) => `m${n}`).join()}]`
}

async function served(listener: Parameters<typeof createServer>[1]): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Processes of one folder, which end with the test. */
function processes(folder: string) {
  const stops: (() => Promise<void>)[] = []
  return {
    start(file: string) {
      const child = spawn(process.execPath, [file], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
      const over = once(child, 'close')
      const stop = async () => {
        child.kill()
        await over
      }
      stops.push(stop)
      let printed = ''
      const look = new EventEmitter()
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text) => {
          printed += text
          look.emit('look')
        })
      }
      child.on('close', () => look.emit('look'))
      return {
        stop,
        /** Waits until it has printed this after what was waited for before. */
        async prints(text: string): Promise<void> {
          while (!printed.includes(text)) {
            if (child.exitCode !== null) throw new Error(`${file} has ended without "${text}":\n${printed}`)
            await once(look, 'look')
          }
          printed = printed.slice(printed.indexOf(text) + text.length)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(stops.map((stop) => stop()))
    },
  }
}
