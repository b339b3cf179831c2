import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { ReceiptBook } from '../../src/protocol/receipt-book.js'
import type { Claim, Lease, Receipts } from '../../src/protocol/receipts.js'
import { fingerprint } from '../../src/server/fingerprint.js'
import { type MessageHandler, type ReceiveOptions, Receiver } from '../../src/server/receive.js'
import type { Answer } from '../../src/server/serve.js'
import { virtualClock } from '../../src/testing/virtual-clock.js'
import { posted, ScriptedIncoming } from '../support/incoming.js'
import { turns } from '../support/turns.js'

type Handler = MessageHandler<string, unknown, unknown>

/** A receiver in virtual time whose requests are strings: the scope. */
function receiving(handler: Handler, options: Partial<ReceiveOptions<string, unknown>> = {}) {
  const clock = virtualClock()
  const errors: unknown[] = []
  const onError = (error: unknown) => errors.push(error)
  const receiver = new Receiver<string, unknown, unknown>(handler, { clock, onError, scope: (r) => r, ...options })
  const send = (incoming: ScriptedIncoming, scope = '') => receiver.answer(scope, incoming)
  return { clock, errors, send }
}

/** A handler that the test finishes by hand. */
function byHand() {
  const runs: { message: unknown; signal: AbortSignal; done(answer: unknown): void; fail(error: unknown): void }[] = []
  const handler: Handler = (message, { signal }) =>
    new Promise((done, fail) => runs.push({ message, signal, done: (answer) => done(answer as object), fail }))
  return { runs, handler }
}

const status = (answer: Answer) => answer.status
const replayed = (answer: Answer) => answer.headers['idempotency-replayed']

test('the first time runs the handler; a repetition gets the same answer, and says so', async () => {
  const messages: unknown[] = []
  const { send, clock } = receiving(async (message) => {
    messages.push(message)
    return { n: messages.length }
  })
  const first = await send(posted('k', { text: 'hi' }))
  expect(first).toMatchObject({ status: 200, body: '{"n":1}', headers: { 'content-type': 'application/json' } })
  expect(replayed(first)).toBeUndefined()
  const second = await send(posted('k', { text: 'hi' }))
  expect(second).toMatchObject({ status: 200, body: '{"n":1}' })
  expect(replayed(second)).toBe('true')
  expect(messages).toEqual([{ text: 'hi' }])
  expect(clock.pending).toBe(0)
})

test('no answer is a 204, the first time and later; null is an answer', async () => {
  const { send } = receiving(async (message) => message as null | undefined)
  const nothing = receiving(async () => {}).send
  expect(await nothing(posted('k'))).toMatchObject({ status: 204, body: '' })
  const again = await nothing(posted('k'))
  expect(again).toMatchObject({ status: 204, body: '', headers: { 'idempotency-replayed': 'true' } })
  expect(again.headers).not.toHaveProperty('content-type')
  expect(await send(posted('k', null))).toMatchObject({ status: 200, body: 'null' })
})

test('another body under the same key is 422, while it is handled and after', async () => {
  const { runs, handler } = byHand()
  const { send } = receiving(handler)
  const first = send(posted('k', 1))
  await turns()
  expect(status(await send(posted('k', 2)))).toBe(422)
  runs[0]?.done('one')
  await first
  expect(status(await send(posted('k', 2)))).toBe(422)
  expect(status(await send(posted('k', '1')))).toBe(422)
  expect(status(await send(new ScriptedIncoming('k', ['1'], 'text/plain')))).toBe(422)
  expect(runs).toHaveLength(1)
})

test('the same body is the same message: pieces, blanks and who parsed it make no difference', async () => {
  const { send } = receiving(async () => 'once')
  await send(posted('k', { a: 1, b: 'ä' }))
  expect(replayed(await send(new ScriptedIncoming('k', ['{ "a":1', ',\n"b": "\\u00e4" }'])))).toBe('true')
  const bytes = new TextEncoder().encode('{"a":1,"b":"ä"}')
  const split = new ScriptedIncoming('k', [bytes.slice(0, 13), bytes.slice(13)])
  expect(replayed(await send(split))).toBe('true')
  const parsed = posted('k')
  parsed.body = { message: { a: 1, b: 'ä' } }
  expect(replayed(await send(parsed))).toBe('true')
  const raw = posted('k')
  raw.body = { raw: '{"a":1,"b":"ä"}' }
  expect(replayed(await send(raw))).toBe('true')
  expect([raw.taken, parsed.taken]).toEqual([0, 0])
})

test('fifty at once: the handler runs once, and the others are told to come back', async () => {
  const { runs, handler } = byHand()
  const { send } = receiving(handler)
  const answers = Array.from({ length: 50 }, () => send(posted('k')))
  await turns()
  expect(runs).toHaveLength(1)
  runs[0]?.done({ id: 7 })
  const settled = await Promise.all(answers)
  expect(settled.filter(({ status }) => status === 200)).toHaveLength(1)
  const refused = settled.filter(({ status }) => status === 409)
  expect(refused).toHaveLength(49)
  for (const { headers } of refused) expect(headers['retry-after']).toBe('1')
  expect(await send(posted('k'))).toMatchObject({ status: 200, body: '{"id":7}' })
  expect(runs).toHaveLength(1)
})

test('the longer a key is held, the later one is told to come back, and never later than its lease', async () => {
  const { runs, handler } = byHand()
  const { send, clock } = receiving(handler, { leaseMs: 60_000 })
  void send(posted('k'))
  await turns()
  const waits: string[] = []
  for (const ms of [0, 400, 9_600, 20_000, 20_000, 9_500]) {
    await clock.advance(ms)
    const { status, headers } = await send(posted('k'))
    waits.push(`${status} ${headers['retry-after']}`)
  }
  expect(waits).toEqual(['409 1', '409 1', '409 10', '409 30', '409 10', '409 1'])
  expect(runs).toHaveLength(1)
})

test.each([
  ['absent', undefined],
  ['empty', ''],
  ['outside of ASCII', 'ä'],
  ['not printable', 'a\tb'],
  ['longer than 255 characters', 'x'.repeat(256)],
])('a key that is %s is a 400, and the body is left unread', async (_, key) => {
  const { send } = receiving(async () => 'no')
  const incoming = posted(key)
  expect(status(await send(incoming))).toBe(400)
  expect(incoming).toMatchObject({ taken: 0, stopped: true })
})

test('any other key is taken', async () => {
  const { send } = receiving(async () => 'yes')
  for (const key of ['!', '~', 'a b', '"8e03978e-40d5"', 'x'.repeat(255)])
    expect(status(await send(posted(key)))).toBe(200)
})

test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])('%s is a 405 that allows POST', async (method) => {
  const { send } = receiving(async () => 'no')
  const incoming = posted('k')
  incoming.method = method
  expect(await send(incoming)).toMatchObject({ status: 405, headers: { allow: 'POST' } })
})

test.each([
  ['application/json', '{"a":1}', { a: 1 }],
  ['Application/JSON; charset=UTF-8', '\ufeff[1]', [1]],
  ['application/vnd.api+json', '"s"', 's'],
  ['text/plain', 'hello', 'hello'],
  ['text/plain;charset="iso-8859-1"', new Uint8Array([0xe4]), 'ä'],
  ['text/plain', '', ''],
])('%s is read', async (type, body, expected) => {
  const messages: unknown[] = []
  const { send } = receiving(async (message) => void messages.push(message))
  expect(status(await send(new ScriptedIncoming('k', [body], type)))).toBe(204)
  expect(messages).toEqual([expected])
})

test.each([
  '',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/octet-stream',
  'application/jsonx',
  'text/plain; charset=klingon',
])('the type %j is a 415, and the body is left unread', async (type) => {
  const { send } = receiving(async () => 'no')
  const incoming = new ScriptedIncoming('k', ['{}'], type)
  expect(status(await send(incoming))).toBe(415)
  expect(incoming).toMatchObject({ taken: 0, stopped: true })
})

test('a compressed body is a 415, unless somebody in front of us has read it', async () => {
  const { send } = receiving(async () => 'yes')
  const gzipped = posted('k')
  gzipped.headers['content-encoding'] = 'gzip'
  expect(await send(gzipped)).toMatchObject({ status: 415, headers: { 'accept-encoding': 'identity' } })
  gzipped.body = { message: {} }
  expect(status(await send(gzipped))).toBe(200)
})

test.each([
  ['application/json', '{"a":'],
  ['application/json', ''],
  ['text/plain', new Uint8Array([0xff])],
  ['application/json', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
])('a malformed body of %s is a 400', async (type, body) => {
  const { send, errors } = receiving(async () => 'no')
  expect(status(await send(new ScriptedIncoming('k', [body], type)))).toBe(400)
  expect(errors).toEqual([])
})

test('a body over the bound is a 413 as soon as that is known, and exactly the bound is taken', async () => {
  const { send } = receiving(async () => 'yes', { maxBodyBytes: 10 })
  const declared = posted('k')
  declared.headers['content-length'] = '11'
  expect(status(await send(declared))).toBe(413)
  expect(declared).toMatchObject({ taken: 0, stopped: true })
  const streamed = new ScriptedIncoming('k', ['123456', '78901', '2'], 'text/plain')
  expect(status(await send(streamed))).toBe(413)
  expect(streamed).toMatchObject({ taken: 11, stopped: true })
  const parsed = posted('k')
  parsed.body = { message: 'x'.repeat(9) }
  expect(status(await send(parsed))).toBe(413)
  const raw = posted('k')
  raw.body = { raw: '"ääääx"' }
  expect(status(await send(raw))).toBe(413)
  expect(status(await send(new ScriptedIncoming('k', ['12345', '67890'], 'text/plain')))).toBe(200)
})

test('a body that stalls is a 408 at the deadline, and holds no key meanwhile', async () => {
  const { send, clock } = receiving(async () => 'yes')
  const stalled = new ScriptedIncoming('k', ['{', '…'])
  const answer = send(stalled)
  await clock.advance(14_999)
  expect(stalled.stopped).toBe(false)
  expect(status(await send(posted('k')))).toBe(200)
  await clock.advance(1)
  expect(status(await answer)).toBe(408)
  expect(stalled.stopped).toBe(true)
  expect(clock.pending).toBe(0)
})

test.each([
  ['breaks off', (incoming: ScriptedIncoming) => incoming.breakOff()],
  ['is left by its client', (incoming: ScriptedIncoming) => incoming.leave()],
])('a body that %s is no message', async (_, end) => {
  const { runs, handler } = byHand()
  const { send, clock } = receiving(handler)
  const incoming = new ScriptedIncoming('k', ['{', '…'])
  const answer = send(incoming)
  await turns()
  end(incoming)
  expect(status(await answer)).toBe(400)
  expect(runs).toEqual([])
  expect(clock.pending).toBe(0)
})

test('a body that somebody read and did not leave is an error that names the mend', async () => {
  const { send } = receiving(async () => 'no')
  const incoming = posted('k')
  incoming.consumed = true
  await expect(send(incoming)).rejects.toThrow(/unread.*Mount this handler in front/s)
})

test.each([
  ['an error', new Error('boom')],
  ['an error with a status', Object.assign(new Error('no'), { status: 422 })],
  ['a Response', new Response('no', { status: 403 })],
])('a handler that throws %s frees the key, for another body too', async (_, thrown) => {
  let runs = 0
  const { send } = receiving(async () => {
    if (++runs === 1) throw thrown
    return runs
  })
  await expect(send(posted('k', 'a'))).rejects.toBe(thrown)
  expect(await send(posted('k', 'b'))).toMatchObject({ status: 200, body: '2' })
})

test('a handler that throws before it awaits anything frees the key too', async () => {
  let runs = 0
  const { send } = receiving(() => {
    if (++runs === 1) throw new Error('boom')
    return runs
  })
  await expect(send(posted('k'))).rejects.toThrow('boom')
  expect(status(await send(posted('k')))).toBe(200)
})

test.each([
  ['a function', () => {}, /JSON can hold, got a function/],
  ['a Response', new Response('x'), /got a Response\. Throw it/],
  ['a bigint inside', { n: 1n }, /BigInt/],
])(
  'an answer that is %s is reported, and its message counts as handled: it has had its effect',
  async (_, answer, message) => {
    let runs = 0
    const errors: unknown[] = []
    const { send } = receiving(
      async () => {
        runs++
        return answer as object
      },
      { onError: (error) => errors.push(error) },
    )
    expect(status(await send(posted('k')))).toBe(204)
    expect(status(await send(posted('k')))).toBe(204)
    expect(runs).toBe(1)
    expect(errors).toHaveLength(1)
    expect(String(errors[0])).toMatch(message)
  },
)

test('a scope never sees what another one was answered, nor is it held up by it', async () => {
  const { runs, handler } = byHand()
  const { send } = receiving(handler)
  const alice = send(posted('k', 'hers'), 'alice')
  await turns()
  const bob = send(posted('k', 'his'), 'bob')
  await turns()
  runs[0]?.done('for alice')
  runs[1]?.done('for bob')
  expect((await alice).body).toBe('"for alice"')
  expect((await bob).body).toBe('"for bob"')
  expect((await send(posted('k', 'hers'), 'alice')).body).toBe('"for alice"')
  expect(status(await send(posted('k', 'hers'), 'bob'))).toBe(422)
})

test('what the scope throws is thrown, before the body is read', async () => {
  const refused = Object.assign(new Error('who?'), { status: 401 })
  const { send } = receiving(async () => 'no', { scope: () => Promise.reject(refused) })
  const incoming = posted('k')
  await expect(send(incoming)).rejects.toBe(refused)
  expect(incoming).toMatchObject({ taken: 0, stopped: true })
})

test('a scope that is no string is a TypeError', async () => {
  const scope = (() => undefined) as unknown as () => string
  await expect(receiving(async () => 'no', { scope }).send(posted('k'))).rejects.toThrow(/`scope` to return a string/)
})

test('the lease of a handler that hangs frees its key, and what it does later changes nothing', async () => {
  const { runs, handler } = byHand()
  const { send, clock } = receiving(handler, { leaseMs: 1_000 })
  const late = send(posted('k'))
  await clock.advance(999)
  expect(status(await send(posted('k')))).toBe(409)
  await clock.advance(1)
  const second = send(posted('k'))
  await turns()
  expect(runs).toHaveLength(2)
  runs[0]?.done('late')
  expect(await late).toMatchObject({ status: 409, headers: { 'retry-after': '1' } })
  expect(status(await send(posted('k')))).toBe(409)
  runs[1]?.done('second')
  expect((await second).body).toBe('"second"')
  expect((await send(posted('k'))).body).toBe('"second"')
})

test('a late handler that throws does not free the key of the one that took over', async () => {
  const { runs, handler } = byHand()
  const { send, clock } = receiving(handler, { leaseMs: 1_000 })
  const late = send(posted('k'))
  await clock.advance(1_000)
  void send(posted('k'))
  await turns()
  runs[0]?.fail(new Error('boom'))
  await expect(late).rejects.toThrow('boom')
  expect(status(await send(posted('k')))).toBe(409)
  expect(runs).toHaveLength(2)
})

test('a handler that outlives its lease keeps its answer, if nobody took over', async () => {
  const { runs, handler } = byHand()
  const { send, clock } = receiving(handler, { leaseMs: 1_000 })
  const slow = send(posted('k'))
  await clock.advance(5_000)
  runs[0]?.done('slow')
  expect(status(await slow)).toBe(200)
  expect((await send(posted('k'))).body).toBe('"slow"')
})

test('a client that leaves is told to the handler, whose answer is remembered all the same', async () => {
  const { runs, handler } = byHand()
  const { send } = receiving(handler)
  const incoming = posted('k')
  const lost = send(incoming)
  await turns()
  incoming.leave()
  expect(runs[0]?.signal.aborted).toBe(true)
  runs[0]?.done('kept')
  await lost
  expect(await send(posted('k'))).toMatchObject({
    status: 200,
    body: '"kept"',
    headers: { 'idempotency-replayed': 'true' },
  })
})

test('the handler is given the request, its scope and the key', async () => {
  const seen: unknown[] = []
  const { send } = receiving(async (_, { request, scope, key }) => void seen.push([request, scope, key]), {
    scope: (name) => name.toUpperCase(),
  })
  await send(posted('k'), 'alice')
  expect(seen).toEqual([['alice', 'ALICE', 'k']])
})

test('receipts that are full are a 503, without a report', async () => {
  const { handler } = byHand()
  const { send, errors } = receiving(handler, { receipts: new ReceiptBook({ maxItems: 1, clock: virtualClock() }) })
  void send(posted('a'))
  await turns()
  const { status, body, headers } = await send(posted('b'))
  expect([status, body]).toEqual([503, 'OVERLOADED'])
  expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
  expect(errors).toEqual([])
})

test('receipts that are away are a 503 and a report, and the handler is not run', async () => {
  const { runs, handler } = byHand()
  const receipts = new FarReceipts()
  receipts.fails = 'claim'
  const { send, errors } = receiving(handler, { receipts })
  expect(await send(posted('k'))).toMatchObject({ status: 503, body: 'STORE_UNAVAILABLE' })
  expect(errors).toEqual([new Error('claim: away')])
  expect(runs).toEqual([])
})

test('an answer that cannot be remembered is given and reported: to refuse it would do the work twice', async () => {
  let runs = 0
  const receipts = new FarReceipts()
  receipts.fails = 'complete'
  const { send, errors } = receiving(async () => ++runs, { receipts })
  expect(await send(posted('k'))).toMatchObject({ status: 200, body: '1' })
  expect(errors).toEqual([new Error('complete: away')])
  // Until the end of its lease, the key is held.
  expect(status(await send(posted('k')))).toBe(409)
  expect(runs).toBe(1)
})

test('a key that cannot be released is reported, and what the handler threw stands', async () => {
  const receipts = new FarReceipts()
  receipts.fails = 'release'
  const { send, errors } = receiving(() => Promise.reject(new Error('boom')), { receipts })
  await expect(send(posted('k'))).rejects.toThrow('boom')
  expect(errors).toEqual([new Error('release: away')])
})

test('`commit` without transactions is a TypeError that names the mend; nothing is run, and the key is free', async () => {
  let committed = 0
  let runs = 0
  const { send } = receiving(async () => (++runs === 1 ? { answer: 'a', commit: () => void committed++ } : 'b'))
  const failed = send(posted('k'))
  await expect(failed).rejects.toThrow(TypeError)
  await expect(failed).rejects.toThrow(/`receipts` with transactions.*Return the answer alone/s)
  expect(committed).toBe(0)
  expect((await send(posted('k'))).body).toBe('"b"')
})

test('with transactions, `commit` runs in the one that remembers the answer', async () => {
  const receipts = new FarReceipts()
  const done: unknown[] = []
  const handler: Handler = async () => ({ answer: { id: 1 }, commit: (tx: unknown) => void done.push(tx) })
  const { send } = receiving(handler, { receipts: transactional(receipts) })
  expect((await send(posted('k'))).body).toBe('{"id":1}')
  expect(await send(posted('k'))).toMatchObject({ body: '{"id":1}', headers: { 'idempotency-replayed': 'true' } })
  expect(done).toEqual(['tx'])
})

test('what `commit` throws is thrown, and the key is free', async () => {
  let runs = 0
  const handler: Handler = async () => ({
    answer: ++runs,
    commit() {
      if (runs === 1) throw new Error('constraint')
    },
  })
  const { send } = receiving(handler, { receipts: transactional(new FarReceipts()) })
  await expect(send(posted('k'))).rejects.toThrow('constraint')
  expect((await send(posted('k'))).body).toBe('2')
})

test('a `commit` whose lease went to another is not run', async () => {
  const { runs, handler } = byHand()
  const receipts = new FarReceipts()
  const { send, clock } = receiving(handler, { receipts: transactional(receipts), leaseMs: 1_000 })
  receipts.clock = clock
  const late = send(posted('k'))
  await turns()
  await clock.advance(1_000)
  void send(posted('k'))
  await turns()
  let committed = 0
  const reply = { answer: 1, commit: () => void committed++ }
  runs[0]?.done(reply)
  expect(status(await late)).toBe(409)
  expect(committed).toBe(0)
})

test.each([
  [{ leaseMs: 0 }, /`leaseMs`/],
  [{ maxBodyBytes: -1 }, /`maxBodyBytes`/],
  [{ bodyTimeoutMs: Number.NaN }, /`bodyTimeoutMs`/],
  [{ scope: 'me' }, /`scope` to be a function.*got "me"/],
  [{ receipts: {} }, /`receipts` to be receipts such as memoryReceipts\(\), got an object/],
])('the options %j are refused at creation', (options, message) => {
  const wrong = options as unknown as ReceiveOptions<string>
  expect(() => new Receiver(async () => 1, wrong)).toThrow(message)
})

test('a handler that is none is refused at creation', () => {
  expect(() => new Receiver(undefined as unknown as Handler)).toThrow(/function that handles a message, got undefined/)
})

test('the fingerprint is SHA-256, at every length around a block, and of any text', () => {
  // The vectors of FIPS 180-4.
  expect(fingerprint('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  expect(fingerprint('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  for (let length = 0; length < 200; length++) {
    for (const text of ['x'.repeat(length), `${'ä€😀'.repeat(length)}x`]) {
      expect(fingerprint(text)).toBe(createHash('sha256').update(text).digest('hex'))
    }
  }
})

/** Receipts that answer with promises and can be made to fail. */
class FarReceipts implements Receipts<string> {
  fails: 'claim' | 'complete' | 'release' | undefined
  clock = virtualClock()
  readonly #book = new ReceiptBook({
    clock: { now: () => this.clock.now(), setTimeout: () => () => {} },
  })

  async claim(...of: Parameters<Receipts['claim']>): Promise<Claim> {
    await this.#far('claim')
    return this.#book.claim(...of)
  }

  async complete(lease: Lease, answer: string | null): Promise<boolean> {
    await this.#far('complete')
    return this.#book.complete(lease, answer)
  }

  async release(lease: Lease): Promise<void> {
    await this.#far('release')
    this.#book.release(lease)
  }

  /** The token of the latest claim. */
  latest = ''

  async #far(verb: 'claim' | 'complete' | 'release'): Promise<void> {
    await turns(1)
    if (this.fails === verb) throw new Error(`${verb}: away`)
  }
}

/** The same, with a transaction that is called 'tx'. */
function transactional(inner: FarReceipts): Receipts<unknown> {
  return {
    async claim(...of) {
      const claim = await inner.claim(...of)
      if (claim.state === 'claimed') inner.latest = claim.lease.token
      return claim
    },
    complete: (...of) => inner.complete(...of),
    release: (...of) => inner.release(...of),
    async commit(lease, answer, effect) {
      if (inner.latest !== lease.token) return false
      await effect('tx')
      return inner.complete(lease, answer)
    },
  }
}
