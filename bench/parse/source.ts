// A server that sends what it has made beforehand: what is measured is the client.
import { createServer } from 'node:net'
import { answer } from '../child.js'
import { payload } from '../payload.js'
import { chunk, listen } from '../server/raw.js'

/** How a body is cut into HTTP chunks, each of which reaches the client by itself. */
export type Chunks = '64 KiB' | 'tiny'

let bytes = Buffer.alloc(0)

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {})
  socket.once('data', () => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
    const body = bytes
    let at = 0
    const more = () => {
      while (at < body.length) {
        const from = at
        at += 256 * 1024
        if (!socket.write(body.subarray(from, at))) return
      }
    }
    socket.on('drain', more)
    more()
  })
})

const verbs = {
  start: (): Promise<number> => listen(server),
  /** Makes a body. Returns how long its text is. */
  make(count: number, size: number, chunks: Chunks): number {
    const events = Array.from(
      { length: count },
      (_, n) => `id: k3f9.${n.toString(36)}.7qz2\ndata: ${payload(n, size)}\n\n`,
    )
    const text = events.join('')
    const parts: Buffer[] = []
    // Lengths that repeat, but not with the events: cuts fall everywhere.
    for (let at = 0, n = 0; at < text.length; n++) {
      const length = chunks === 'tiny' ? 1 + ((n * 67) % 131) : 64 * 1024
      parts.push(chunk(text.slice(at, at + length)))
      at += length
    }
    bytes = Buffer.concat(parts)
    return text.length
  },
}

export type SourceVerbs = typeof verbs

answer(verbs)
