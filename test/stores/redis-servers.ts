import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createClient } from '@redis/client'

/** Whether servers of our own can be started. */
export const hasRedisServer = ['redis-server', 'redis-cli'].every(
  (program) => spawnSync(program, ['--version']).status === 0,
)

/** A Redis of its own, with nothing in it. */
export class RedisServer implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  #process: ChildProcess
  readonly #args: readonly string[]

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#folder = mkdtempSync(join(tmpdir(), 'steady-redis-'))
    this.#args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', ...args]
    this.#process = this.#spawn()
  }

  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    await server.answers()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** `kill -9` */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
  }

  async restart(): Promise<void> {
    this.#process = this.#spawn()
    await this.answers()
  }

  async command(...args: string[]): Promise<unknown> {
    const client = createClient({ url: this.url })
    client.on('error', () => {})
    await client.connect()
    try {
      return await client.sendCommand(args)
    } finally {
      client.destroy()
    }
  }

  /** Waits until it answers to PING. */
  async answers(): Promise<void> {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: 10 } })
    client.on('error', () => {})
    await client.connect()
    await client.ping()
    client.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #spawn(): ChildProcess {
    return spawn('redis-server', this.#args, { stdio: 'ignore' })
  }
}

const JOIN_MS = 15_000

/** Three masters that share the slots. */
export class RedisCluster implements AsyncDisposable {
  readonly nodes: readonly RedisServer[]

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  /** A port that was free may be somebody else's by the time a server binds it, and then the nodes never meet: begin anew. */
  static async start(...args: string[]): Promise<RedisCluster> {
    for (let tries = 1; ; tries++) {
      const nodes: RedisServer[] = []
      try {
        return await RedisCluster.#join(nodes, args)
      } catch (error) {
        await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))
        if (tries === 3) throw error
      }
    }
  }

  static async #join(nodes: RedisServer[], args: string[]): Promise<RedisCluster> {
    for (let n = 0; n < 3; n++) {
      const bus = String(await freePort())
      nodes.push(await RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', bus, ...args))
    }
    const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
    const create = ['--cluster', 'create', ...addresses, '--cluster-yes']
    await promisify(execFile)('redis-cli', create, { timeout: JOIN_MS })
    const late = performance.now() + JOIN_MS
    for (const node of nodes) {
      while (!String(await node.command('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
        if (performance.now() > late) throw new Error('The nodes of the cluster did not agree in time')
      }
    }
    return new RedisCluster(nodes)
  }

  get urls(): string[] {
    return this.nodes.map(({ url }) => url)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()))
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
