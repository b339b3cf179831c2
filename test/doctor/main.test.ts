import { describe, expect, test } from 'vitest'
import { main } from '../../src/doctor/main.js'
import { answering, HEARTBEAT_MS, serve, serveForeign, serveHub } from './paths.js'

interface Run {
  readonly code: number
  readonly out: string
  readonly error: string
}

async function run(args: readonly string[], showsProgress = false): Promise<Run> {
  let [out, error] = ['', '']
  const terminal = {
    out: (text: string) => {
      out += text
    },
    error: (text: string) => {
      error += text
    },
    columns: 80,
    showsProgress,
    isColoured: false,
  }
  return { code: await main(args, terminal), out, error }
}

describe('steady-sse doctor', () => {
  test('exits with 0 for a stream that comes through, and shows what arrived when', async () => {
    await using app = await serveHub()
    const { code, out, error } = await run(['doctor', app.url])
    expect({ code, error }).toEqual({ code: 0, error: '' })
    expect(out).toContain('✓ ok')
    expect(out).toMatch(/path +\|?[·R#|]+h·+h/)
    expect(out.split('\n').filter((line) => line.length > 80)).toEqual([])
  })

  test('exits with 1 for a problem, and says how to mend it', async () => {
    await using app = await serve((_, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream', server: 'nginx' })
      res.write('data: 1\n\n')
      setTimeout(() => res.destroy(), 1_200)
    })
    const { code, out } = await run(['doctor', app.url])
    expect(code).toBe(1)
    expect(out).toMatch(/^✗ cut when idle after ~1\.\d s\n/)
    expect(out).toContain('Mend: nginx\n    proxy_read_timeout 1h;')
  })

  test('exits with 2 where it cannot tell', async () => {
    await using app = await serveForeign(60_000)
    const { code, out } = await run(['doctor', app.url, '--seconds', '0.5'])
    expect(code).toBe(2)
    expect(out).toMatch(/^\? no bytes within .*: cannot tell buffered from quiet\n/)
  })

  test.each([
    [[], 'Expected a command'],
    [['physician'], 'Expected the command `doctor`'],
    [['doctor'], 'Expected the address of a stream'],
    [['doctor', 'sesame'], 'Expected `url` to be an address'],
    [['doctor', 'http://a/', 'sesame'], 'Expected one address'],
    [['doctor', 'http://a/', '--origin', 'sesame'], 'Expected `--origin` to be an address'],
    [['doctor', 'http://a/', '-H', 'sesame'], 'Expected `-H` to be of the form'],
    [['doctor', 'http://a/', '-H', 'a: sesame\u0001x'], 'Expected `headers` to hold text'],
    [['doctor', 'http://a/', '--seconds', 'sesame'], 'Expected `--seconds` to be a number'],
    [['doctor', 'http://a/', '--token=sesame'], '`--token` is not an option'],
    [['doctor', 'http://a/', '-H'], 'The options cannot be read'],
  ])('misuse exits with 2 and repeats no value: %j', async (args, message) => {
    const { code, out, error } = await run(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(error).toContain(message)
    expect(error).not.toContain('sesame')
  })

  test('--help says what there is', async () => {
    const { code, out } = await run(['--help'])
    expect(code).toBe(0)
    for (const option of ['--origin', '-H', '--seconds', '--insecure', '--json', '--help'])
      expect(out).toContain(option)
  })

  test('--json gives the traces and the diagnosis, and nothing else', async () => {
    await using app = await serveHub()
    const { code, out } = await run(['doctor', app.url, '--origin', app.url, '--json'])
    expect(code).toBe(0)
    const { trace, origin, diagnosis } = JSON.parse(out) as Record<string, unknown>
    expect(trace).toMatchObject({ heartbeatMs: HEARTBEAT_MS, head: { status: 200 }, stopped: 'settled' })
    expect(origin).toMatchObject({ head: { status: 200 } })
    expect(diagnosis).toMatchObject({ verdict: 'ok', outcome: 'ok' })
  })

  test('shows progress where there is a terminal, and takes it away', async () => {
    await using app = await serveHub()
    const { error } = await run(['doctor', app.url], true)
    expect(error).toContain('connecting …')
    expect(error).toMatch(/200 · [1-9]\d* frames?, /)
    expect(error.endsWith('\r\u001b[K')).toBe(true)
  })
})

describe('what is secret', () => {
  const SECRETS = [
    'sesame-user',
    'sesame-pass',
    'sesame query',
    'sesame-flag',
    'sesame-bearer',
    'sesame-cookie',
    'sesame-mine',
    'sesame-fragment',
  ]
  const hides = (text: string) => {
    for (const secret of SECRETS)
      for (const form of [secret, encodeURIComponent(secret)]) expect(text).not.toContain(form)
    expect(text).not.toContain('sesame-data')
    expect(text).not.toContain('sesame-set')
  }
  const urlOf = (port: number) =>
    `http://sesame-user:sesame-pass@127.0.0.1:${port}/events?token=sesame%20query&sesame-flag#sesame-fragment`
  const args = [
    '-H',
    'authorization: Bearer sesame-bearer',
    '-H',
    'cookie: sid=sesame-cookie',
    '-H',
    'x-mine: sesame-mine',
  ]

  test.each(['--json', '--insecure'])(
    'is not in the output (%s) of a stream, of an answer that repeats it, or of a redirect',
    async (option) => {
      await using stream = await serve((_, res) => {
        res.writeHead(200, {
          'content-type': 'text/event-stream',
          'set-cookie': 'sid=sesame-set',
          'x-token': 'sesame-set',
        })
        res.end('event: secret\nid: sesame-data\ndata: sesame-data\n\n')
      })
      await using echo = await serve((req, res) => {
        res.writeHead(500, {
          'content-type': 'text/html',
          via: `${req.headers['x-mine']}`,
          server: `${req.headers.authorization}`,
        })
        res.end(`<title>${req.url} ${req.headers.cookie} ${req.headers['x-mine']}</title>`)
      })
      await using leads = await serve((req, res) => {
        res.writeHead(302, { location: `http://sesame-user:sesame-pass@127.0.0.1:${echo.port}${req.url}` }).end()
      })
      for (const { port } of [stream, echo, leads]) {
        const { out, error } = await run(['doctor', urlOf(port), '--origin', urlOf(port), ...args, option], true)
        expect(out).toContain('?token=***&***')
        hides(out + error)
      }
    },
  )

  test('is not in the output when nothing answers', async () => {
    const gone = await answering(200, {}, '')
    await gone[Symbol.asyncDispose]()
    const { code, out, error } = await run(['doctor', urlOf(gone.port), ...args])
    expect(code).toBe(1)
    hides(out + error)
  })
})
