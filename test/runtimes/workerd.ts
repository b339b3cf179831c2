import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

interface Entry {
  readonly default: string
}

export interface Workerd extends AsyncDisposable {
  readonly url: string
}

/**
 * Starts workerd with `worker.mjs`, whose hub lives in a Durable Object, in the folder of a consumer.
 *
 * @param compatibilityDate - decides what a worker finds: an older one brings fewer of the web's interfaces.
 */
export async function startWorkerd(program: string, folder: string, compatibilityDate: string): Promise<Workerd> {
  const config = join(folder, `${compatibilityDate}.capnp`)
  writeFileSync(config, configOf(folder, compatibilityDate))
  const child = spawn(program, ['serve', '--control-fd=3', config], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const output of [child.stdout, child.stderr]) output?.on('data', (chunk: Buffer) => said.push(String(chunk)))
  const exited = once(child, 'exit')
  const port = await Promise.race([
    portOn(child.stdio[3] as Readable),
    exited.then(() => Promise.reject(new Error(`workerd ended: ${said.join('')}`))),
  ])
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      // It would wait for open connections.
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** It tells on which port it listens. */
async function portOn(control: Readable): Promise<number> {
  for await (const line of createInterface({ input: control })) {
    const { event, port } = JSON.parse(line) as { event: string; port: number }
    if (event === 'listen') return port
  }
  return Promise.reject(new Error('workerd does not listen'))
}

/** A worker knows modules by their names only, so each file of the package is one, and each entry leads to one. */
function configOf(folder: string, compatibilityDate: string): string {
  const ours = 'node_modules/steady-sse'
  const files = readdirSync(join(folder, ours, 'dist'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.js') && !path.startsWith('browser'))
    .map((path) => ({ name: `dist/${path}`, code: `embed "${ours}/dist/${path}"` }))
  const { exports } = JSON.parse(readFileSync(join(folder, ours, 'package.json'), 'utf8')) as {
    exports: Record<string, Entry>
  }
  const entries = ['./client', './memory', './server', './web'].map((key) => ({
    name: key.replace('.', 'steady-sse'),
    code: `"export * from '.${exports[key]?.default}'"`,
  }))
  const programs = ['worker.mjs', 'world.mjs'].map((name) => ({ name, code: `embed "${name}"` }))
  const modules = [...programs, ...entries, ...files].map(({ name, code }) => `(name = "${name}", esModule = ${code})`)
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "loopback", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  compatibilityDate = "${compatibilityDate}",
  globalOutbound = "loopback",
  durableObjectNamespaces = [(className = "Streams", uniqueKey = "streams")],
  durableObjectStorage = (inMemory = void),
  bindings = [(name = "STREAMS", durableObjectNamespace = "Streams")],
  modules = [
    ${modules.join(',\n    ')},
  ],
);
`
}
