import { test } from 'vitest'
import { encodeGap, encodeReady } from '../../src/protocol/control.js'
import { formatCursor, parseCursor } from '../../src/protocol/cursor.js'
import { encodeEvent } from '../../src/protocol/encode.js'
import { sseHeaders } from '../../src/protocol/headers.js'
import { delivery, hubServer, type MakeServer, type ServerParts } from '../property/delivery.js'
import { finds } from '../property/runs.js'
import type { ModelStore } from '../support/model-store.js'

const encoder = new TextEncoder()
const WHOLE = { limit: 10_000 }

/** How a small server names places, and where it continues after one. */
interface Habits {
  idOf(epoch: string, offset: number, tag: number): string
  /** The text of what it says first, and the offset after which it goes on. */
  begin(log: ModelStore, stream: string, cursor: string | null, from: string | null): { first: string; after: number }
}

/** A server of a few lines, without a hub: a loop per response that reads on when there is more. */
function small({ idOf, begin }: Habits): MakeServer {
  return ({ log }: ServerParts) => {
    const open = new Map<() => void, () => void>()
    return {
      async handler(request) {
        const url = new URL(request.url)
        const stream = url.pathname.slice(1)
        const cursor = request.headers.get('last-event-id') ?? url.searchParams.get('lastEventId')
        let { first, after } = begin(log, stream, cursor, url.searchParams.get('from'))
        let look = () => {}
        let unwatch = () => {}
        const over = () => {
          open.delete(look)
          unwatch()
        }
        const body = new ReadableStream<Uint8Array>({
          async start(controller) {
            controller.enqueue(encoder.encode(first))
            look = () => {
              for (const { offset, tag, data } of log.read(stream, after, WHOLE)?.events ?? []) {
                controller.enqueue(encoder.encode(encodeEvent({ data, id: idOf(log.open(stream).epoch, offset, tag) })))
                after = offset
              }
            }
            open.set(look, () => {
              over()
              controller.close()
            })
            unwatch = await log.watch(stream, look)
            if (open.has(look)) look()
            else unwatch()
          },
          cancel: over,
        })
        return new Response(body, { headers: sseHeaders() })
      },
      publish: async (stream, batch) =>
        log.append(
          stream,
          batch.map((data) => ({ event: undefined, data, key: undefined })),
        ),
      async close() {
        for (const end of [...open.values()]) end()
      },
      connections: () => open.size,
    }
  }
}

const RETRY = 1_000
const hello = { connection: 'c', heartbeatMs: 2_000, time: 0 }

const bare = (offset: number) => formatCursor({ epoch: 'x', offset, tag: 0 })

/** A cursor that is a bare number: after the log was begun anew it means another place, and nobody can tell. */
const withoutEpoch = small({
  idOf: (_, offset) => bare(offset),
  begin(log, stream, cursor, from) {
    const { first, head } = log.open(stream)
    const after = parseCursor(cursor ?? '')?.offset ?? (from === 'earliest' ? first - 1 : head)
    const resumed = cursor === null ? 'new' : 'ok'
    return { first: encodeReady({ ...hello, resumed }, RETRY, bare(after)), after }
  },
})

/** What was trimmed is skipped, and the cursor goes on behind the hole as if nothing had been there. */
const pastTheHole: MakeServer = (parts) => {
  const server = hubServer(parts)
  return { ...server, handler: async (request) => withoutGaps(await server.handler(request)) }
}

/** Takes the announcements out of a response, and leaves their ids. */
function withoutGaps(response: Response): Response {
  if (!response.body) return response
  const decoder = new TextDecoder()
  let text = ''
  const silenced = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        text += decoder.decode(chunk, { stream: true })
        const end = text.lastIndexOf('\n\n') + 2
        if (end < 2) return
        const frames = text.slice(0, end).replace(/event: stream:gap\ndata: .*\n/g, '')
        text = text.slice(end)
        controller.enqueue(encoder.encode(frames))
      },
    }),
  )
  return new Response(silenced, response)
}

/** The gap is announced, but the frame before it names the place after it: a cut between the two swallows it. */
const idOnReady = small({
  idOf: (epoch, offset, tag) => formatCursor({ epoch, offset, tag }),
  begin(log, stream, cursor, from) {
    const view = log.open(stream)
    const start = from === 'earliest' ? view.first - 1 : view.head
    const place = parseCursor(cursor ?? '')
    const tagOf = (offset: number) => log.read(stream, offset, { limit: 0 })?.tag ?? 0
    const id = (offset: number) => formatCursor({ epoch: view.epoch, offset, tag: tagOf(offset) })
    if (!place) return { first: encodeReady({ ...hello, resumed: 'new' }, RETRY, id(start)), after: start }
    const isSame = place.epoch === view.epoch && tagOf(place.offset) === place.tag && place.offset + 1 >= view.first
    if (isSame) return { first: encodeReady({ ...hello, resumed: 'ok' }, RETRY, id(place.offset)), after: place.offset }
    const isExpired = place.epoch === view.epoch && place.offset + 1 < view.first
    const missed = isExpired ? view.first - 1 - place.offset : null
    const isDiverged = place.epoch === view.epoch && !isExpired
    const after = isDiverged ? view.head : view.first - 1
    const reason = isExpired ? 'expired' : !isDiverged ? 'epoch' : place.offset > view.head ? 'ahead' : 'diverged'
    const gap = encodeGap({ reason, missed }, id(after))
    return { first: encodeReady({ ...hello, resumed: 'gap' }, RETRY, id(after)) + gap, after }
  },
})

test('a cursor without an epoch is found', async () => {
  await finds(delivery(withoutEpoch, 'foreign'), 1_000, /in silence|not caught up/)
})

test('a cursor that moves past a gap which nobody announced is found', async () => {
  await finds(delivery(pastTheHole), 1_000, /in silence|the cursor is .* what was handed over leads to/)
})

test('a place on the ready before a gap is found', async () => {
  await finds(delivery(idOnReady), 1_000, /in silence/)
})
