import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import type { Readable } from 'node:stream'
import tls from 'node:tls'
import type { Failure } from './trace.js'

/** The head of a response, with the body still to come. */
export interface Answer {
  readonly status: number
  readonly httpVersion: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Readable
}

/** One request on a connection of its own. */
export interface Exchange {
  /** Resolves when the connection stands. Rejects with a `Failed`. */
  readonly connected: Promise<void>
  /** Resolves with the head. Rejects with a `Failed`. */
  readonly answered: Promise<Answer>
  destroy(): void
}

export class Failed extends Error {
  readonly failure: Failure

  constructor(phase: Failure['phase'], error: unknown) {
    const { code, message } = error as { code?: unknown; message?: unknown }
    // Messages may quote what was sent; codes do not.
    const name =
      typeof code === 'string' ? code : typeof message === 'string' && /^[A-Z_]+$/.test(message) ? message : ''
    super(phase)
    this.failure = { phase, code: name || 'UNKNOWN' }
  }
}

/** Sends a GET. Not by `fetch`, which tells neither the version of HTTP nor how header names were spelled. */
export function get(url: URL, headers: Readonly<Record<string, string>>, insecure: boolean): Exchange {
  let phase: Failure['phase'] = 'connect'
  let destroy = () => {}
  let over = false
  const connected = connectTo(url, insecure, (socket) => {
    destroy = () => socket.destroy()
    socket.on('lookup', (error: Error | null) => {
      if (error) phase = 'lookup'
    })
    socket.once('connect', () => {
      if (url.protocol === 'https:') phase = 'tls'
    })
    if (over) socket.destroy()
  }).catch((error: unknown) => {
    throw new Failed(phase, error)
  })
  const answered = connected
    .then((socket) => {
      phase = 'head'
      return socket instanceof tls.TLSSocket && socket.alpnProtocol === 'h2'
        ? over2(socket, url, headers)
        : over1(socket, url, headers)
    })
    .catch((error: unknown) => {
      throw error instanceof Failed ? error : new Failed(phase, error)
    })
  // Whoever waits for one of them hears of it.
  answered.catch(() => {})
  return {
    connected: connected.then(() => {}),
    answered,
    destroy() {
      over = true
      destroy()
    },
  }
}

async function connectTo(url: URL, insecure: boolean, onSocket: (socket: net.Socket) => void): Promise<net.Socket> {
  const isTls = url.protocol === 'https:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port) || (isTls ? 443 : 80)
  const socket = isTls
    ? tls.connect({
        host,
        port,
        ...(net.isIP(host) === 0 && { servername: host }),
        ALPNProtocols: ['h2', 'http/1.1'],
        rejectUnauthorized: !insecure,
      })
    : net.connect({ host, port })
  socket.setNoDelay(true)
  onSocket(socket)
  await once(socket, isTls ? 'secureConnect' : 'connect')
  return socket
}

function over1(socket: net.Socket, url: URL, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      method: 'GET',
      // Without an agent Node would ask for `close`, which no browser does.
      headers: { connection: 'keep-alive', ...headers },
      agent: false,
      createConnection: () => socket,
    })
    request.on('error', reject)
    request.on('upgrade', (_response, upgraded: net.Socket) => {
      upgraded.destroy()
      reject(new Error('UPGRADED'))
    })
    request.on('response', (response) => {
      resolve({
        status: response.statusCode ?? 0,
        httpVersion: response.httpVersion,
        headers: pairs(response.rawHeaders),
        body: response,
      })
    })
    request.end()
  })
}

function over2(socket: net.Socket, url: URL, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(url.origin, { createConnection: () => socket })
    session.on('error', reject)
    const { host, connection: _, ...rest } = lowerCase(headers)
    const stream = session.request({
      ':method': 'GET',
      ':path': url.pathname + url.search,
      ...(host !== undefined && { ':authority': host }),
      ...(url.username !== '' && { authorization: basic(url) }),
      ...rest,
    })
    stream.on('error', reject)
    stream.on('response', (head, _flags, raw?: unknown) => {
      const all = Array.isArray(raw) ? pairs(raw as string[]) : Object.entries(head).flatMap(fieldsOf)
      resolve({
        status: Number(head[':status']),
        httpVersion: '2',
        headers: all.filter(([name]) => !name.startsWith(':')),
        body: stream,
      })
    })
    // A stream that ends is not the end of its session, and nothing else is asked of it.
    stream.on('close', () => session.close())
    stream.end()
  })
}

function pairs(raw: readonly string[]): [string, string][] {
  const found: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) found.push([raw[i] ?? '', raw[i + 1] ?? ''])
  return found
}

function fieldsOf([name, value]: [string, string | string[] | number | undefined]): [string, string][] {
  return (Array.isArray(value) ? value : [String(value ?? '')]).map((each) => [name, each])
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function basic(url: URL): string {
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}
