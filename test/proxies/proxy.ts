import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'vitest'

/** How one kind of proxy is run. */
export interface ProxyKind {
  /** As it is called. */
  readonly name: string
  /** Its folder in `conf`. */
  readonly folder: string
  /** Of the files there. */
  readonly extension: string
  /** Whether `frame` there surrounds each of them. */
  readonly framed: boolean
  /** Debian's. */
  readonly package: string
  readonly program: string
  /** With which it says its version. */
  readonly versionArgs: readonly string[]
  /** How it is told to listen, where it does not take `127.0.0.1:80`. */
  listen?(port: number): string
  /** It stays in the foreground and writes its log to stdout or stderr. */
  args(given: RunArgs): readonly string[]
  /** Whether this, which it wrote so far, says that it answers. Without it, it answers when its port accepts. */
  isReady?(log: string): boolean
}

export interface RunArgs {
  readonly config: string
  readonly folder: string
  readonly port: number
  readonly idle: number
}

/** What the `{{names}}` of a configuration stand for; `folder`, `port` and `listen` are added. */
export interface Values {
  /** The server's port, where there is one server. */
  readonly upstream?: number
  /** After how many silent seconds the proxy cuts. Default: 60. */
  readonly idle?: number
  /** Lines of nginx's that are set for all sites. Default: none. */
  readonly forAll?: string
  readonly [name: string]: string | number | undefined
}

/** A running proxy on a port of the loopback interface. */
export interface RunningProxy extends AsyncDisposable {
  readonly address: { readonly port: number }
  readonly url: string
  /** What it wrote so far. */
  readonly log: string
  /** Ends it, and with it every connection through it. */
  stop(): Promise<void>
  /** Starts it again, on the same port; with another file of its folder, where one is named. */
  start(site?: string): Promise<void>
}

/** `nobody` of Debian's: what needs no rights is given none. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const START_MS = 15_000
const STOP_MS = 3_000

/** What runs now: a test process that ends early takes it along. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})

/** Whether the proxy is on the machine. Throws in CI where it is not. */
export function isThere({ program, package: name }: ProxyKind): boolean {
  if (existsSync(program)) return true
  if (process.env.CI) throw new Error(`${program} is not there: install Debian's ${name}`)
  return false
}

/** Skips the test, and fails it in CI, where the proxy is not on the machine. */
export function skipWithout(kind: ProxyKind, { skip }: Pick<TestContext, 'skip'>): void {
  if (!isThere(kind)) skip(`${kind.program} is not there: install Debian's ${kind.package}`)
}

/** The version that the program says it has. */
export function versionOf({ program, versionArgs }: ProxyKind): string {
  const { stdout, stderr } = spawnSync(program, versionArgs, { encoding: 'utf8' })
  return /\d+\.\d+\.\d+/.exec(stdout + stderr)?.[0] ?? 'unknown'
}

/** The text of a configuration as it stands in its file, without its frame. */
export function siteOf({ folder, extension }: ProxyKind, site: string): Promise<string> {
  return readFile(join(import.meta.dirname, 'conf', folder, site + extension), 'utf8')
}

/**
 * Starts a proxy with a configuration from `conf`.
 *
 * @param site - the file's name, without its extension.
 */
export async function startProxy(kind: ProxyKind, site: string, given: Values): Promise<RunningProxy> {
  const folder = await mkdtemp(join(tmpdir(), `${kind.folder}-`))
  const port = await freePort()
  const listen = kind.listen?.(port) ?? `127.0.0.1:${port}`
  const values = { idle: 60, forAll: '', ...given, folder, port, listen }
  const config = join(folder, `main${kind.extension}`)
  if (isRoot) await chown(folder, NOBODY, NOBODY)
  const args = kind.args({ config, folder, port, idle: values.idle })
  let log = ''
  let child: ChildProcess | undefined
  const proxy: RunningProxy = {
    address: { port },
    url: `http://127.0.0.1:${port}`,
    get log() {
      return log
    },
    async start(named = site) {
      const inner = fill(await siteOf(kind, named), values)
      await writeFile(config, kind.framed ? fill(await siteOf(kind, 'frame'), { ...values, site: inner }) : inner)
      const before = log.length
      const started = spawn(kind.program, args, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, HOME: folder },
        ...(isRoot && { uid: NOBODY, gid: NOBODY }),
      })
      child = started
      running.add(started)
      started.once('exit', () => running.delete(started))
      const failed = new Promise<never>((_, reject) => {
        started.on('error', reject)
        started.on('exit', (code) => reject(new Error(`${kind.name} with ${named} ended with ${code}:\n${log}`)))
      })
      const ready = new Promise<void>((resolve, reject) => {
        const take = (chunk: Buffer) => {
          log += chunk
          if (kind.isReady?.(log.slice(before))) resolve()
        }
        started.stdout.on('data', take)
        started.stderr.on('data', take)
        if (!kind.isReady) accepting(port, started).then(resolve, reject)
      })
      await Promise.race([ready, failed])
    },
    async stop() {
      if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
      const stopping = child
      const exited = once(stopping, 'exit')
      stopping.kill('SIGTERM')
      // One that waits for its streams to end would wait for ever.
      const impatience = setTimeout(() => stopping.kill('SIGKILL'), STOP_MS)
      await exited
      clearTimeout(impatience)
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

/** Puts values for the `{{names}}` of a configuration. */
export function fill(text: string, values: Values): string {
  return text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`the configuration wants a value for ${name}`)
    return String(value)
  })
}

/** Resolves when something accepts connections on the port. */
async function accepting(port: number, child: ChildProcess): Promise<void> {
  for (const until = performance.now() + START_MS; performance.now() < until && child.exitCode === null; ) {
    const socket = net.connect(port, '127.0.0.1')
    const accepted = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (accepted) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`nothing accepts on port ${port}`)
}

/** Those that were given away, for the one who was given it may not listen yet. */
const taken = new Set<number>()

/** Free a moment ago: proxies cannot choose one themselves and say which. */
async function freePort(): Promise<number> {
  for (;;) {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    if (taken.has(port)) continue
    taken.add(port)
    return port
  }
}
