import fc from 'fast-check'
import { connect } from '../../src/client/index.js'
import { encodeEvent } from '../../src/protocol/encode.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'
import { CUT, end, event, gap, type Part, ready, scripted, settle } from '../client/scripted.js'

/** A client that reads until it is closed. */
export type MakeClient = (url: string, options: { fetch: typeof fetch; clock: VirtualClock }) => { close(): void }

export const ourClient: MakeClient = (url, options) => {
  // A poll in place of a stream has waits of its own.
  const stream = connect(url, { ...options, fallback: 'none' })
  void (async () => {
    for await (const _ of stream);
  })()
  return stream
}

/** One answer of a server that may be anything. */
type Answer =
  | { readonly kind: 'fault' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'refused'; readonly status: number; readonly retryAfter: number | undefined }
  | {
      readonly kind: 'stream'
      readonly retry: number | undefined
      readonly says: readonly ('ready' | 'comment' | 'event' | 'gap')[]
      readonly openMs: number
      readonly end: 'close' | 'cut' | 'shutdown' | 'maxAge'
    }

const answer: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom({ kind: 'fault' as const }, { kind: 'hang' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('refused' as const),
      status: fc.constantFrom(408, 425, 429, 500, 502, 503, 504),
      retryAfter: fc.constantFrom(undefined, 0, 1, 40, 90_000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('stream' as const),
      retry: fc.constantFrom(undefined, undefined, 0, 500, 3_000, 999_999),
      says: fc.array(
        fc.constantFrom('ready' as const, 'ready' as const, 'comment' as const, 'event' as const, 'gap' as const),
        {
          maxLength: 3,
        },
      ),
      openMs: fc.constantFrom(0, 0, 10, 2_000, 4_900, 5_100, 20_000),
      end: fc.constantFrom('close' as const, 'cut' as const, 'shutdown' as const, 'maxAge' as const),
    }),
  },
)

const CONNECT_MS = 10_000

/** The rules of the wait between attempts, as they are written down. */
class Model {
  #retryMs = 1_000
  #failures = 0
  #quickAt = Number.NEGATIVE_INFINITY

  /** @param random - from 0 up to 1. */
  waitAfter(one: Answer, now: number, random: number): number {
    if (one.kind === 'fault' || one.kind === 'hang') return this.#failed(0, random)
    if (one.kind === 'refused') return this.#failed(Math.min(3_600_000, (one.retryAfter ?? 0) * 1_000), random)
    if (one.retry !== undefined) this.#retryMs = Math.min(60_000, Math.max(100, one.retry))
    const heard = one.says.filter((said) => said !== 'comment')
    // A server that does not begin with `ready` is not one of ours: whatever it says is an event.
    const isSteady = heard[0] === 'ready'
    const saysEnd = one.end === 'shutdown' || one.end === 'maxAge'
    const hasHanded = heard.includes('event') || heard.includes('gap') || (saysEnd && !isSteady)
    const isEstablished = hasHanded || one.openMs >= 5_000
    if (isEstablished) this.#failures = 0
    if (isSteady && one.end === 'maxAge' && now - this.#quickAt >= 5_000) {
      this.#quickAt = now
      return 250 * random
    }
    return isEstablished ? this.#retryMs * (1 + 0.1 * random) : this.#failed(0, random)
  }

  #failed(floorMs: number, random: number): number {
    this.#failures++
    return Math.max(floorMs, this.#retryMs) + random * Math.min(30_000, 1_000 * 2 ** this.#failures)
  }
}

/** Whatever a server does, the wait before each attempt is what the rules say. */
export function backoff(make: MakeClient): fc.IAsyncProperty<unknown> {
  const random = fc.constantFrom(0, 0.25, 0.5, 0.999)
  return fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 14 }), random, async (answers, drawn) => {
    const clock = virtualClock()
    const model = new Model()
    const due: number[] = []
    const came: number[] = []
    const { random: original } = Math
    Math.random = () => drawn
    const server = scripted(({ number, cursor, answer: respond }) => {
      const now = clock.now()
      came.push(now)
      const one = answers[number - 1] ?? { kind: 'hang' }
      const openMs = one.kind === 'hang' ? CONNECT_MS : one.kind === 'stream' ? one.openMs : 0
      due.push(now + openMs + model.waitAfter(one, now + openMs, drawn))
      if (one.kind === 'fault') return Promise.reject(new TypeError('fetch failed'))
      if (one.kind === 'hang') return new Promise(() => {})
      if (one.kind === 'refused') {
        const headers = one.retryAfter === undefined ? {} : { 'retry-after': String(one.retryAfter) }
        return new Response('', { status: one.status, headers })
      }
      return respond(partsOf(one, clock, cursor))
    })
    const client = make('http://test/', { fetch: server.fetch, clock })
    try {
      for (let n = 0; n <= answers.length; n++) {
        await clock.advance(0)
        const at = due[n]
        if (at === undefined) throw new Error(`attempt ${n + 1} was not made when it was due`)
        if (n < answers.length) await clock.advance(at - clock.now() + 0.01)
        if (n < answers.length && came[n + 1] === undefined)
          throw new Error(`attempt ${n + 2} is late, after ${JSON.stringify(answers[n])}`)
        const early = at - (came[n + 1] ?? Number.POSITIVE_INFINITY)
        if (early > 0.01) throw new Error(`attempt ${n + 2} is ${early} ms early, after ${JSON.stringify(answers[n])}`)
      }
    } finally {
      Math.random = original
      client.close()
      await settle()
    }
    await clock.advance(30_000)
    if (clock.pending > 0 || server.open > 0)
      throw new Error(`left behind: ${clock.pending} timers, ${server.open} bodies`)
  })
}

function* partsOf(one: Answer & { kind: 'stream' }, clock: VirtualClock, cursor: string | null): Generator<Part> {
  // Before `ready`, lest it be one of a stream that is open already.
  const retry = one.retry === undefined ? '' : encodeEvent({ retry: one.retry, data: '' }).split('\n')[0]
  if (retry) yield `${retry}\n\n`
  let isReady = false
  for (const said of one.says) {
    if (said === 'comment') yield ': beat\n\n'
    else if (said === 'event') yield event('x')
    else if (said === 'gap') yield gap('g')
    else if (!isReady)
      yield ready({ resumed: cursor === null ? 'new' : 'ok' }, cursor ?? undefined).replace(/^retry:.*\n/, '')
    isReady ||= said === 'ready'
  }
  if (one.openMs > 0) yield new Promise((resolve) => clock.setTimeout(() => resolve(':\n\n'), one.openMs))
  if (one.end === 'shutdown' || one.end === 'maxAge') yield end(one.end)
  else if (one.end === 'cut') yield CUT
}
