import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Frames } from '../support/raw-reader.js'
import { until } from '../support/turns.js'

/** A running HTTP/2 server and one client of it. Disposing it cuts what is left of both. */
export interface ServedHttp2 extends AsyncDisposable {
  read(path: string, options?: { method?: string; headers?: http2.OutgoingHttpHeaders }): Promise<Http2Reader>
}

/** One response over HTTP/2: nothing of our client is in it. */
export class Http2Reader extends Frames {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader
  readonly #stream: http2.ClientHttp2Stream
  over = false
  /** Whether the response was completed, as opposed to cut off. */
  complete = false

  constructor(stream: http2.ClientHttp2Stream, headers: http2.IncomingHttpHeaders) {
    super()
    this.#stream = stream
    this.headers = headers
    stream.on('data', (chunk: Buffer) => this.push(chunk))
    stream.on('end', () => {
      this.complete = stream.rstCode === http2.constants.NGHTTP2_NO_ERROR && !stream.aborted
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.over = true
    })
  }

  get status(): number | undefined {
    return this.headers[':status']
  }

  /** Waits until `check` holds, or the response is over. */
  async until(check: (reader: this) => boolean): Promise<this> {
    await until(() => this.over || check(this))
    return this
  }

  end(): Promise<this> {
    return this.until(() => false)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  leave(): void {
    this.#stream.close(http2.constants.NGHTTP2_CANCEL)
  }
}

export async function listenHttp2(
  listener: (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => void,
): Promise<ServedHttp2> {
  const server = http2.createServer(listener)
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await once(client, 'connect')
  return {
    async read(path, { method = 'GET', headers = {} } = {}) {
      const stream = client.request({ ':path': path, ':method': method, ...headers })
      const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      return new Http2Reader(stream, head)
    },
    async [Symbol.asyncDispose]() {
      client.destroy()
      const closed = once(server, 'close')
      server.close()
      for (const session of sessions) session.destroy()
      await closed
    },
  }
}
