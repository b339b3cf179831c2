import http from 'node:http'
import http2 from 'node:http2'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Frames } from '../support/raw-reader.js'

/** One request and what came of it, with the times at which it came. */
export interface Asked {
  readonly frames: Frames
  readonly askedAt: number
  /** When the head came. */
  headAt: number | undefined
  status: number
  /** `content-encoding`, as it was received; the frames are read unpacked. */
  encoding: string | undefined
  headers: Readonly<Record<string, string | readonly string[] | undefined>>
  body: string
  /** When the event of that number came, from 0. */
  readonly eventAt: number[]
  /** When the response was over, or the request failed. */
  overAt: number | undefined
  /** Resolves then. */
  readonly over: Promise<void>
  leave(): void
}

export interface AskOptions {
  readonly isHttp2?: boolean
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Asks as a browser does: what can be compressed may be. Nothing of our client is in it. */
export function ask(url: string, options: AskOptions = {}): Asked {
  let end = () => {}
  const asked: Asked = {
    frames: new Frames(),
    askedAt: performance.now(),
    headAt: undefined,
    status: 0,
    encoding: undefined,
    headers: {},
    body: '',
    eventAt: [],
    overAt: undefined,
    over: new Promise((resolve) => {
      end = resolve
    }),
    leave: () => {},
  }
  const finish = () => {
    asked.overAt ??= performance.now()
    end()
  }
  const take = (status: number, headers: Asked['headers'], body: Readable) => {
    Object.assign(asked, { headAt: performance.now(), status, headers, encoding: headers['content-encoding'] })
    const isStream = String(headers['content-type']).startsWith('text/event-stream')
    // What is compressed and breaks off is an error of the unpacking.
    const plain = asked.encoding === 'gzip' ? body.pipe(createGunzip()).on('error', finish) : body
    plain.on('data', (chunk: Buffer) => {
      asked.body += chunk
      if (!isStream) return
      asked.frames.push(chunk)
      while (asked.eventAt.length < asked.frames.events.length) asked.eventAt.push(performance.now())
    })
    plain.on('end', finish)
    // What ended well is over when it is unpacked.
    body.on('error', finish).on('close', () => !body.readableEnded && finish())
  }
  asked.leave = options.isHttp2 ? askHttp2(url, options, take, finish) : askHttp1(url, options, take, finish)
  return asked
}

type Take = (status: number, headers: Asked['headers'], body: Readable) => void

const ACCEPT = { accept: 'text/event-stream', 'accept-encoding': 'gzip' }

function askHttp1(url: string, { method = 'GET', headers, body }: AskOptions, take: Take, finish: () => void) {
  const request = http.request(url, { method, headers: { ...ACCEPT, ...headers }, agent: false })
  request.on('response', (response) => take(response.statusCode ?? 0, response.headers, response))
  request.on('error', finish).end(body)
  return () => void request.destroy()
}

/** Without TLS, and known beforehand, which browsers do not offer. */
function askHttp2(url: string, { method = 'GET', headers, body }: AskOptions, take: Take, finish: () => void) {
  const { origin, pathname, search } = new URL(url)
  const session = http2.connect(origin).on('error', finish)
  const request = session.request({ ':path': pathname + search, ':method': method, ...ACCEPT, ...headers })
  request.on('response', ({ ':status': status = 0, ...rest }) => take(status, rest as Asked['headers'], request))
  request.on('error', finish).on('close', () => session.close())
  request.end(body)
  return () => {
    request.close(http2.constants.NGHTTP2_CANCEL)
    session.destroy()
  }
}
