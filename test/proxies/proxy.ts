import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFailed, type TestContext } from 'vitest'

/** How one kind of proxy is run. */
export interface ProxyKind {
  /** As it is called, and as its package of Debian's is. */
  readonly name: string
  readonly program: string
  /** It stays in the foreground and writes its log to stderr. */
  args(config: string, folder: string): readonly string[]
  /** Whether this, which it wrote so far, says that it listens. */
  isReady(log: string): boolean
}

/** A running proxy on a port of the loopback interface. */
export interface RunningProxy extends AsyncDisposable {
  readonly address: { readonly port: number }
  readonly url: string
  /** Ends it, and with it every connection through it. */
  stop(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
}

/** `nobody` of Debian's: what needs no rights is given none. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

/** Skips the test, and fails it in CI, where the proxy is not on the machine. */
export function skipWithout({ name, program }: ProxyKind, { skip }: Pick<TestContext, 'skip'>): void {
  if (existsSync(program)) return
  const reason = `${program} is not there: install Debian's ${name}`
  if (process.env.CI) throw new Error(reason)
  skip(reason)
}

/**
 * Starts a proxy with a configuration from `conf`.
 *
 * @param values - for the `{{names}}` in it; `folder` and `port` are added.
 */
export async function startProxy(
  kind: ProxyKind,
  template: string,
  values: Readonly<Record<string, string | number>>,
): Promise<RunningProxy> {
  const folder = await mkdtemp(join(tmpdir(), `${kind.name}-`))
  const port = await freePort()
  const config = join(folder, template)
  const text = await readFile(join(import.meta.dirname, 'conf', template), 'utf8')
  await writeFile(config, fill(text, { ...values, folder, port }))
  if (isRoot) await chown(folder, NOBODY, NOBODY)
  let log = ''
  let child: ChildProcess | undefined
  onTestFailed(() => console.log(`${kind.name} said:\n${log}`))
  const proxy: RunningProxy = {
    address: { port },
    url: `http://127.0.0.1:${port}`,
    async start() {
      const before = log.length
      const started = spawn(kind.program, kind.args(config, folder), {
        stdio: ['ignore', 'ignore', 'pipe'],
        ...(isRoot && { uid: NOBODY, gid: NOBODY }),
      })
      child = started
      await new Promise<void>((resolve, reject) => {
        started.on('error', reject)
        started.on('exit', (code) => reject(new Error(`${kind.name} ended with ${code}:\n${log}`)))
        started.stderr.on('data', (chunk: Buffer) => {
          log += chunk
          if (kind.isReady(log.slice(before))) resolve()
        })
      })
    },
    async stop() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    },
    async [Symbol.asyncDispose]() {
      await proxy.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
  try {
    await proxy.start()
  } catch (error) {
    await proxy[Symbol.asyncDispose]()
    throw error
  }
  return proxy
}

function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`the configuration wants a value for ${name}`)
    return String(value)
  })
}

/** Free a moment ago: proxies cannot choose one themselves and say which. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
