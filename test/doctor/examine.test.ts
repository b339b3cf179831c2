import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { sse } from '../../src/adapters/node.js'
import { examine } from '../../src/doctor/examine.js'
import type { ProbeOptions } from '../../src/doctor/probe.js'
import { probe } from '../../src/doctor/probe.js'
import { createHub } from '../../src/server/index.js'
import { memoryStore } from '../../src/stores/memory.js'
import {
  aged,
  answering,
  bySize,
  byTime,
  delayed,
  gzipping,
  HEARTBEAT_MS,
  impatient,
  oneBehind,
  type Place,
  passing,
  type Relaying,
  relay,
  serve,
  serveForeign,
  serveHub,
  stripping,
  untilEnd,
} from './paths.js'

const STREAM = { 'content-type': 'text/event-stream' }
/** No heartbeat comes in time. */
const SILENT_MS = 60_000
const watch = (watchMs: number): ProbeOptions => ({ watchMs })

type Behind = [
  about: string,
  line: string | RegExp,
  app: () => Promise<Place>,
  relaying: Relaying,
  options?: ProbeOptions,
]
type Alone = [line: string, app: () => Promise<Place>, options?: ProbeOptions]

// Real time passes in these: they share it. More than one try, for a machine that is busy delays streams as well.
describe.concurrent('behind a relay, with the origin named, the doctor says', { retry: 2 }, () => {
  const hub = () => serveHub()
  const silent = () => serveHub(SILENT_MS)
  const rows: Behind[] = [
    ['that passes everything on', 'ok', hub, passing],
    ['that is 200 ms late', 'ok', hub, delayed(200)],
    [
      'that keeps the whole response',
      'buffered by the proxy: not even the head comes through',
      hub,
      untilEnd,
      watch(2_500),
    ],
    ['that fills a buffer first', 'buffered by the proxy: nothing comes through', hub, bySize(4_096), watch(2_500)],
    [
      'that fills a small buffer',
      'buffered by the proxy: bytes are kept until a buffer is full',
      () => serveForeign(20),
      bySize(1_024),
      watch(4_000),
    ],
    [
      'that sends on every two seconds',
      'buffered by the proxy: events are kept and come several at once',
      hub,
      byTime(2 * HEARTBEAT_MS + 100),
    ],
    ['that keeps the last piece', 'buffered by the proxy: each event is kept until the next one', hub, oneBehind],
    ['that is late by 3 s', 'buffered by the proxy: each event is kept for a while', hub, delayed(3_000), watch(6_000)],
    [
      'that compresses and does not flush',
      'compressed by the proxy: gzip, and held by it',
      hub,
      gzipping(false),
      watch(2_500),
    ],
    [
      'that compresses and flushes',
      'compressed by the proxy: gzip, though each event still comes at once',
      hub,
      gzipping(true),
    ],
    [
      'that removes the hints',
      'headers stripped: cache-control: no-transform, x-accel-buffering: no',
      hub,
      stripping('cache-control', 'x-accel-buffering'),
    ],
    ['that changes the type', 'not an event stream: events by the proxy', hub, stripping('content-type'), watch(2_500)],
    ['that cuts after 1.5 s of silence', /^cut when idle after ~1\.[5-9] s by the proxy$/, silent, impatient(1_500)],
    [
      'that ends after 1.5 s of silence',
      /^cut when idle after ~1\.[5-9] s by the proxy$/,
      silent,
      impatient(1_500, 'end'),
    ],
    ['that cuts after 1.3 s', /^cut after 1\.\d s, though bytes were flowing by the proxy$/, hub, aged(1_300)],
    [
      'that ends what it should keep open',
      'ended at once by the proxy',
      hub,
      (_, to) => to.writeHead(200, STREAM).end(),
    ],
    ['that answers in its place', 'upstream failed: 502', hub, (_, to) => to.writeHead(502).end()],
  ]
  test.each<Behind>(rows)('%s: %s', async (_, line, serveApp, relaying, options = {}) => {
    await using app = await serveApp()
    await using proxy = await relay(app, relaying)
    const { diagnosis } = await examine(proxy.url, app.url, options)
    expect(diagnosis.line).toEqual(typeof line === 'string' ? line : expect.stringMatching(line))
    const isOk = diagnosis.verdict === 'ok'
    expect(diagnosis).toMatchObject({ outcome: isOk ? 'ok' : 'problem', where: isOk ? 'nowhere' : 'proxy' })
  })

  test('that the origin itself buffers', async () => {
    await using hub = await serveHub()
    await using app = await relay(hub, bySize(150))
    await using proxy = await relay(app, passing)
    const { diagnosis } = await examine(proxy.url, app.url, {})
    expect(diagnosis).toMatchObject({ verdict: 'buffered-by-application', where: 'application' })
  })

  test('that the origin has a late head', async () => {
    await using app = await serve((_, res) => {
      setTimeout(() => res.writeHead(200, STREAM).write('data: 1\n\n'), 1_500)
      setTimeout(() => res.write('data: 2\n\n'), 1_800)
    })
    await using proxy = await relay(app, passing)
    const { diagnosis } = await examine(proxy.url, app.url, watch(2_500))
    expect(diagnosis).toMatchObject({ verdict: 'head-late', where: 'application' })
  })
})

describe.concurrent('with nothing to compare, the doctor says', { retry: 2 }, () => {
  const page = '<!doctype html><title>Welcome</title>'
  const html = { 'content-type': 'text/html' }
  const rows: Alone[] = [
    ['ok', () => serveHub()],
    ['ok', () => serveForeign(300), watch(1_500)],
    ['no bytes within 1 s: cannot tell buffered from quiet', () => serveForeign(SILENT_MS), watch(1_000)],
    ['no answer in 1 s', () => serve(() => {}), watch(1_000)],
    ['no answer: closed after', () => serve((_, res) => res.destroy())],
    ['not an event stream: a page', () => answering(200, html, page)],
    ['not an event stream: a page', () => answering(200, STREAM, page)],
    ['not an event stream: JSON', () => answering(200, { 'content-type': 'application/json' }, '{"message":"no"}')],
    ['not an event stream: events', () => answering(200, { 'content-type': 'text/plain' }, 'data: 1\n\n')],
    [
      'redirected to a login: no event stream',
      () =>
        serve(({ url }, res) =>
          url === '/login'
            ? res.writeHead(200, html).end(page)
            : res.writeHead(301, { location: '/login?from=%2Fevents' }).end(),
        ),
    ],
    ['unauthorised: 401', () => answering(401, { 'www-authenticate': 'Bearer' }, '')],
    ['not found: 404', () => answering(404, html, page)],
    ['refused: 405', () => answering(405, { allow: 'POST' }, '')],
    [
      'upstream failed: 502',
      () => answering(502, html, '<html><title>502 Bad Gateway</title><center>nginx/1.22.1</center>'),
    ],
    ['complete: 204, nothing follows', () => answering(204, {}, '')],
    ['ended at once', () => answering(200, STREAM, '')],
    [
      'buffered: the whole response is kept until its end',
      () => answering(200, { ...STREAM, 'content-length': 18 }, 'data: 1\n\ndata: 2\n\n'),
    ],
    ['ok', () => serve((_, res) => res.writeHead(200, STREAM).end('\uFEFFdata: 1\r\n\r\ndata: 2\r\n\r\n'))],
  ]
  test.each<Alone>(rows)('%s', async (line, serveApp, options = {}) => {
    await using app = await serveApp()
    const { diagnosis } = await examine(app.url, undefined, options)
    expect(diagnosis.line.startsWith(line) ? line : diagnosis.line).toBe(line)
  })

  test('unreachable: nothing listens', async () => {
    const app = await serveForeign(SILENT_MS)
    await app[Symbol.asyncDispose]()
    const { diagnosis } = await examine(app.url, undefined, {})
    expect(diagnosis.line).toBe('unreachable: no connection, ECONNREFUSED')
  })

  test('unreachable: the name is not known', async () => {
    const { diagnosis } = await examine('http://no-such-name.invalid/', undefined, {})
    expect(diagnosis).toMatchObject({ verdict: 'unreachable', outcome: 'problem' })
  })

  test('unreachable: what answers does not speak TLS', async () => {
    await using app = await serveForeign(SILENT_MS)
    const { diagnosis } = await examine(app.url.replace('http:', 'https:'), undefined, {})
    expect(diagnosis.line).toMatch(/^unreachable: TLS/)
  })

  test('unreachable: what answers does not speak HTTP', async () => {
    const server = net.createServer((socket) => socket.end('220 mail.example ESMTP\r\n')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { diagnosis } = await examine(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, undefined, {})
    server.close()
    expect(diagnosis).toMatchObject({
      verdict: 'unreachable',
      reason: expect.stringContaining('does not speak HTTP') as string,
    })
  })
})

describe('a probe', () => {
  test('speaks HTTP/2 where the server does, and refuses a certificate that nobody vouches for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'doctor-'))
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const made = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-keyout',
      keyFile,
      '-out',
      certFile,
    ]
    await promisify(execFile)('openssl', made)
    const hub = createHub({ store: memoryStore(), heartbeatMs: HEARTBEAT_MS })
    const server = http2.createSecureServer(
      { key: await readFile(keyFile), cert: await readFile(certFile) },
      sse(hub, { stream: () => 's' }),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const refused = await examine(url, undefined, {})
    const { trace, diagnosis } = await examine(url, undefined, { insecure: true })
    await hub.close({ graceMs: 1 })
    server.close()
    await rm(folder, { recursive: true })
    expect(refused.diagnosis.line).toBe('unreachable: TLS, DEPTH_ZERO_SELF_SIGNED_CERT')
    expect(trace.head).toMatchObject({ httpVersion: '2', status: 200 })
    expect(diagnosis.line).toBe('ok')
  })

  test('ends when its signal says so, with what it saw', async () => {
    await using app = await serveForeign(SILENT_MS)
    const stop = new AbortController()
    const trace = await probe(app.url, { signal: stop.signal, onProgress: () => stop.abort() })
    expect(trace).toMatchObject({ stopped: 'aborted', head: { status: 200 } })
  })

  test('does not send what is secret on to another origin', async () => {
    const seen: (string | undefined)[] = []
    await using other = await serve((req, res) => {
      seen.push(req.headers.authorization)
      res.writeHead(404).end()
    })
    await using app = await serve((req, res) => {
      seen.push(req.headers.authorization)
      res.writeHead(302, { location: other.url }).end()
    })
    await probe(app.url, { headers: { authorization: 'Bearer sesame' } })
    expect(seen).toEqual(['Bearer sesame', undefined])
  })

  test.each<[string, Parameters<typeof probe>]>([
    ['Expected `url` to be an address', ['sesame']],
    ['Expected `url` to be an address', ['ftp://sesame@host/']],
    ['Expected `watchMs` to be a number', ['http://host/', { watchMs: -1 }]],
    ['Expected each name in `headers`', ['http://host/', { headers: { 'sesame open': '1' } }]],
    ['Expected `headers` to hold text', ['http://host/', { headers: { a: 'sesame\n' } }]],
  ])('misuse: %s', async (message, args) => {
    const error = await probe(...args).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(TypeError)
    expect(String(error)).toContain(message)
    expect(String(error)).not.toContain('sesame')
  })
})
