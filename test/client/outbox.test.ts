import { expect, test, vi } from 'vitest'
import { createOutbox, type Rejection, type SendAnswer, SseError } from '../../src/client/outbox.js'
import { virtualClock } from '../../src/testing/index.js'
import { accepts, breaks, endOf, hangs, isAccounted, scene, statuses } from './outboxes.js'
import { CUT, HANG, settle } from './scripted.js'

test('a message is posted with its key and its type, and the answer is its receipt', async () => {
  const { outbox, requests } = scene()
  const receipt = await outbox.send({ text: 'hello' }, { key: 'k-1' })
  expect(receipt).toMatchObject({ key: 'k-1', status: 200, attempts: 1, replayed: false, body: '{"ok":true}' })
  expect(receipt.json()).toEqual({ ok: true })
  await outbox.send('as text')
  const sent = requests.map(({ init, headers }) => [init.method, init.body, headers.get('content-type')])
  expect(sent).toEqual([
    ['POST', '{"text":"hello"}', 'application/json'],
    ['POST', 'as text', 'text/plain;charset=UTF-8'],
  ])
  expect(requests[0]?.headers.get('idempotency-key')).toBe('k-1')
  expect(requests[1]?.headers.get('idempotency-key')).toMatch(/^[!-~]{20,}$/)
})

test('a repeated answer is marked as such', async () => {
  const { outbox } = scene(() => new Response(null, { status: 204, headers: { 'idempotency-replayed': 'true' } }))
  const receipt = await outbox.send('x')
  expect(receipt).toMatchObject({ status: 204, replayed: true, body: '' })
  expect(receipt.json()).toBeUndefined()
})

test('what fails is tried again with the same key and growing waits', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const { outbox, clock, requests } = scene(statuses(503, 408, 425, 429, 500))
  const begun = clock.now()
  const sent = outbox.send('x', { key: 'same' })
  await clock.advance(120_000)
  await expect(sent).resolves.toMatchObject({ attempts: 6 })
  expect(new Set(requests.map(({ headers }) => headers.get('idempotency-key')))).toEqual(new Set(['same']))
  // 1 s and half of 2, 4, 8, 16 and 30 s.
  expect(clock.now() - begun).toBe(120_000)
  vi.restoreAllMocks()
})

test('the waits are those of the formula, with `Retry-After` as a floor', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const at: number[] = []
  const clock = virtualClock()
  const date = new Date(clock.now() + 60_000).toUTCString()
  const answers = statuses(
    503,
    [503, { 'retry-after': '20' }],
    [409, { 'retry-after': '1' }],
    [429, { 'retry-after': date }],
  )
  const { outbox } = scene(
    (request) => {
      at.push(clock.now())
      return answers(request)
    },
    { clock },
  )
  const begun = clock.now()
  void outbox.send('x')
  await clock.advance(200_000)
  const waits = at.map((time, index) => time - (at[index - 1] ?? begun))
  expect(waits.slice(0, 4)).toEqual([0, 2_000, 22_000, 5_000])
  // A date, to the second; from then on 8 s.
  expect(at[4]).toBeGreaterThanOrEqual(Date.parse(date) + 8_000)
  expect(at[4]).toBeLessThan(Date.parse(date) + 9_000)
  vi.restoreAllMocks()
})

test.each([400, 403, 409, 413, 415, 422])('%i rejects its message, and the lane goes on', async (status) => {
  const { outbox, bodies } = scene(({ number, answer }) =>
    number === 1 ? answer(['{"why":"no"}'], { status }) : answer([]),
  )
  const bad = endOf(outbox.send('bad'))
  await outbox.send('good')
  expect(bad).toMatchObject({ end: 'REJECTED', error: { status, cause: { status, body: '{"why":"no"}' } } })
  const { cause } = bad.error as { cause: SendAnswer }
  expect(cause.json()).toEqual({ why: 'no' })
  expect(bodies).toEqual(['bad', 'good'])
})

test('a redirect is no acceptance: the message would have become a GET', async () => {
  const { outbox, requests } = scene(() => new Response(null, { status: 302, headers: { location: '/login' } }))
  await expect(outbox.send('x')).rejects.toMatchObject({ code: 'REJECTED', status: 302 })
  expect(requests[0]?.init.redirect).toBe('manual')
})

test.each([
  ['at once', [403], false],
  ['after an answer that was lost', [0, 403], true],
  ['after one that a gateway gave', [504, 403], true],
  ['with a redirect, after an answer that was lost', [0, 302], true],
])('whoever is rejected %s is told whether an earlier attempt may have arrived', async (_, list, mayHaveArrived) => {
  const { outbox, clock } = scene((request) => {
    const status = list[request.number - 1]
    return status === 0 ? breaks(request) : new Response(null, { status: status ?? 200 })
  })
  const sent = endOf(outbox.send('x'))
  await clock.advance(10_000)
  const { cause, message } = sent.error as { cause: Rejection; message: string }
  expect([sent.end, cause.mayHaveArrived]).toEqual(['REJECTED', mayHaveArrived])
  expect(/may have arrived/.test(message)).toBe(mayHaveArrived)
})

test.each([
  [500, 'RETRIES_EXHAUSTED'],
  [502, 'UNCERTAIN'],
  [503, 'RETRIES_EXHAUSTED'],
  [504, 'UNCERTAIN'],
  [409, 'UNCERTAIN'],
  [429, 'RETRIES_EXHAUSTED'],
])(
  'given up after a %i, a message ends with %s: a gateway, or a key in flight, tells nothing of its handler',
  async (status, code) => {
    const { outbox, clock } = scene(() => new Response(null, { status, headers: { 'retry-after': '1' } }), {
      maxAttempts: 2,
    })
    const ends = [endOf(outbox.send('x')), endOf(outbox.send('y', { retry: false }))]
    await clock.advance(20_000)
    expect(ends.map(({ end }) => end)).toEqual([code, code])
  },
)

test('what an attempt failed of is the cause of the end', async () => {
  const fault = new Error('no token')
  const { outbox, clock, requests } = scene(accepts, { headers: () => Promise.reject(fault) })
  const ends = [endOf(outbox.send('x')), endOf(outbox.send('y', { retry: false }))]
  await clock.advance(600_000)
  expect(ends).toMatchObject([
    { end: 'EXPIRED', error: { cause: fault } },
    { end: 'EXPIRED', error: { cause: fault } },
  ])
  expect(requests).toEqual([])
})

test('a failed head stays at the head, and lanes do not wait for each other', async () => {
  const { outbox, clock, bodies } = scene(statuses(503))
  for (const text of ['a1', 'a2', 'a3']) void outbox.send(text, { lane: 'a' })
  void outbox.send('b1', { lane: 'b' })
  await clock.advance(0)
  expect(bodies).toEqual(['a1', 'b1'])
  await clock.advance(10_000)
  expect(bodies).toEqual(['a1', 'b1', 'a1', 'a2', 'a3'])
})

test('in a lane one message is in a request at a time', async () => {
  let open = 0
  let most = 0
  const clock = virtualClock()
  const { outbox } = scene(
    async (request) => {
      most = Math.max(most, ++open)
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 50))
      open--
      return accepts(request)
    },
    { clock },
  )
  for (let n = 0; n < 20; n++) void outbox.send(n)
  await clock.advance(1_000)
  expect([most, outbox.counters.accepted]).toEqual([1, 20])
})

test('the 101st message of a stalled outbox is refused at once, and was never taken in', () => {
  const { outbox } = scene(hangs)
  for (let n = 0; n < 100; n++) outbox.send(n).catch(() => {})
  let refusal: unknown
  try {
    void outbox.send('one more')
  } catch (error) {
    refusal = error
  }
  expect(refusal).toBeInstanceOf(SseError)
  expect(refusal).toMatchObject({ code: 'OUTBOX_FULL' })
  expect(outbox.counters).toMatchObject({ enqueued: 100, pending: 100 })
})

test('the bytes of the bodies are bounded, and a message without order counts like any other', async () => {
  const { outbox } = scene(hangs, { maxBytes: 10, maxItems: 2 })
  expect(() => outbox.send('12345678901')).toThrow(/more than its `maxBytes`/)
  outbox.send('ä234567').catch(() => {}) // eight bytes
  expect(() => outbox.send('123')).toThrow(expect.objectContaining({ code: 'OUTBOX_FULL' }))
  outbox.send('1', { retry: false }).catch(() => {})
  expect(() => outbox.send('1')).toThrow(/2 of 2 messages/)
  await outbox.close()
})

test('`drop-oldest` rejects the oldest that is in no request', async () => {
  const { outbox } = scene(hangs, { maxItems: 3, overflow: 'drop-oldest' })
  const ends = ['first', 'second', 'third'].map((text) => endOf(outbox.send(text)))
  await settle()
  const fourth = endOf(outbox.send('fourth'))
  await settle()
  expect([...ends, fourth].map(({ end }) => end)).toEqual(['pending', 'OUTBOX_FULL', 'pending', 'pending'])
  expect(isAccounted(outbox)).toBe(true)
  expect(outbox.counters).toMatchObject({ enqueued: 4, dropped: 1, pending: 3 })
  // Those in a request stay: there is nothing to drop.
  const full = scene(hangs, { maxItems: 2, overflow: 'drop-oldest' })
  for (const lane of ['a', 'b']) full.outbox.send('x', { lane }).catch(() => {})
  await settle()
  expect(() => full.outbox.send('y')).toThrow(expect.objectContaining({ code: 'OUTBOX_FULL' }))
  await Promise.all([outbox.close(), full.outbox.close()])
})

test('dropped messages leave nothing in their lane, however many there are', async () => {
  const { outbox, clock, bodies } = scene(({ number }) => (number === 1 ? hangs : accepts)({} as never), {
    maxItems: 2,
    overflow: 'drop-oldest',
  })
  outbox.send('m0').catch(() => {})
  await settle()
  for (let n = 1; n < 2_000; n++) outbox.send(`m${n}`).catch(() => {})
  await clock.advance(30_000)
  expect(bodies).toEqual(['m0', 'm0', 'm1999'])
})

test('an answer that stalls in its body is cut at the deadline, and the message tried again', async () => {
  const { outbox, clock, requests } = scene(({ number, answer }) => answer(number === 1 ? ['{"half":', HANG] : ['{}']))
  const sent = endOf(outbox.send('x'))
  await clock.advance(14_999)
  expect([requests.length, requests[0]?.init.signal?.aborted]).toEqual([1, false])
  await clock.advance(1)
  expect(requests[0]?.init.signal?.aborted).toBe(true)
  await clock.advance(5_000)
  expect([sent.end, requests.length]).toEqual(['accepted', 2])
})

test('a fetch that ignores its signal, and headers that never come, are cut at the deadline, too', async () => {
  const clock = virtualClock()
  let asked = 0
  const outbox = createOutbox('http://test/', {
    clock,
    timeoutMs: 1_000,
    maxAgeMs: 60_000,
    headers: () => (asked++ === 0 ? new Promise(() => {}) : {}),
    fetch: () => new Promise(() => {}),
  })
  const sent = endOf(outbox.send('x'))
  await clock.advance(60_000)
  expect(asked).toBeGreaterThan(3)
  expect(sent.end).toBe('UNCERTAIN')
  expect(clock.pending).toBe(0)
})

test('an answer that breaks off is none; of a rejection, the status is enough', async () => {
  const { outbox, clock } = scene(({ number, answer }) =>
    answer(['x', CUT], { status: [200, 200, 403][number - 1] ?? 500 }),
  )
  const first = endOf(outbox.send('x'))
  await clock.advance(30_000)
  expect(first).toMatchObject({ end: 'REJECTED', error: { status: 403 } })
})

test('of a huge answer, the first MiB is kept', async () => {
  const part = 'x'.repeat(300_000)
  const { outbox } = scene(({ answer }) => answer([part, part, part, part, HANG]))
  expect((await outbox.send('x')).body).toHaveLength(1_048_576)
})

test('`maxAttempts` counts answers, not networks that fail', async () => {
  const { outbox, clock, requests } = scene(
    (request) => (request.number <= 5 ? breaks(request) : new Response(null, { status: 503 })),
    { maxAttempts: 3, maxAgeMs: 3_600_000 },
  )
  const first = endOf(outbox.send('x'))
  await clock.advance(1_200_000)
  // Five attempts left and got no answer.
  expect([requests.length, first.end]).toEqual([8, 'UNCERTAIN'])
  const second = endOf(outbox.send('y'))
  await clock.advance(600_000)
  expect([requests.length, second.end]).toEqual([11, 'RETRIES_EXHAUSTED'])
  expect(outbox.counters).toMatchObject({ enqueued: 2, uncertain: 1, exhausted: 1 })
})

test.each([
  ['in a request', hangs, false, 'UNCERTAIN'],
  ['while the network fails', breaks, false, 'UNCERTAIN'],
  [
    'between two answers',
    () => new Response(null, { status: 503, headers: { 'retry-after': '3600' } }),
    false,
    'EXPIRED',
  ],
  ['while paused', accepts, true, 'EXPIRED'],
] as const)('`maxAgeMs` bounds every wait: %s', async (_, answer, paused, end) => {
  const { outbox, clock } = scene(answer, { maxAgeMs: 20_000, timeoutMs: 60_000 })
  if (paused) outbox.pause()
  const first = endOf(outbox.send('first'))
  const behind = endOf(outbox.send('behind'))
  await clock.advance(19_999)
  expect([first.end, behind.end]).toEqual(['pending', 'pending'])
  await clock.advance(1)
  expect([first.end, behind.end]).toEqual([end, 'EXPIRED'])
  expect([clock.pending, outbox.size]).toEqual([0, 0])
})

test('`retry: false` is one try in no lane', async () => {
  const { outbox, clock, bodies } = scene(({ init }) => {
    if (init.body === 'stalls') return new Promise(() => {})
    return new Response(null, { status: { stop: 204, later: 503, no: 400 }[String(init.body)] ?? 200 })
  })
  const behind = endOf(outbox.send('stalls'))
  const ends = ['stop', 'later', 'no'].map((text) => endOf(outbox.send(text, { retry: false })))
  await clock.advance(0)
  expect(ends.map(({ end }) => end)).toEqual(['accepted', 'RETRIES_EXHAUSTED', 'REJECTED'])
  expect(behind.end).toBe('pending')
  expect(bodies.toSorted()).toEqual(['later', 'no', 'stalls', 'stop'])
  outbox.pause()
  await expect(outbox.send('stop', { retry: false })).rejects.toMatchObject({ code: 'EXPIRED' })
  const failing = scene(breaks)
  await expect(failing.outbox.send('stop', { retry: false })).rejects.toMatchObject({ code: 'UNCERTAIN' })
})

test('a 401 is met with new headers once, made once for all lanes', async () => {
  let token = 0
  const { outbox, clock, requests } = scene(
    ({ headers }) => new Response(null, { status: headers.get('authorization') === 'old' ? 401 : 204 }),
    { headers: async () => ({ authorization: token++ < 2 ? 'old' : 'new' }) },
  )
  const ends = ['a', 'b'].map((lane) => endOf(outbox.send(lane, { lane })))
  await clock.advance(0)
  expect(ends.map(({ end }) => end)).toEqual(['accepted', 'accepted'])
  expect([requests.length, token]).toEqual([4, 3])
})

test.each([
  ['makes the same headers again', () => ({ authorization: 'old' }), 2],
  ['has none to make anew', { authorization: 'old' }, 1],
])('a 401 to one that %s rejects the message', async (_, headers, count) => {
  const { outbox, requests } = scene(() => new Response(null, { status: 401 }), { headers })
  await expect(outbox.send('x')).rejects.toMatchObject({ code: 'REJECTED', status: 401 })
  expect(requests).toHaveLength(count)
})

test('being offline spends no attempt, and the message leaves when the network is back', async () => {
  const navigator = { onLine: false }
  const scope = new EventTarget()
  vi.stubGlobal('navigator', navigator)
  vi.stubGlobal('addEventListener', scope.addEventListener.bind(scope))
  vi.stubGlobal('removeEventListener', scope.removeEventListener.bind(scope))
  const { outbox, clock, requests } = scene()
  const sent = endOf(outbox.send('x'))
  const expired = endOf(outbox.send('now or never', { retry: false }))
  await clock.advance(100_000)
  expect([requests.length, sent.end, expired.end]).toEqual([0, 'pending', 'EXPIRED'])
  navigator.onLine = true
  scope.dispatchEvent(new Event('online'))
  await settle()
  expect([requests.length, sent.end]).toEqual([1, 'accepted'])
  vi.unstubAllGlobals()
})

test('paused, nothing is begun; resumed, all goes on', async () => {
  const { outbox, clock, bodies, changes } = scene()
  outbox.pause()
  const sent = [outbox.send(1), outbox.send(2)]
  await clock.advance(60_000)
  expect([bodies.length, outbox.state]).toEqual([0, 'paused'])
  outbox.resume()
  await Promise.all(sent)
  expect(bodies).toEqual(['1', '2'])
  expect(outbox.state).toBe('idle')
  expect(changes.at(-1)).toMatchObject({ state: 'idle', size: 0, item: { state: 'accepted', attempts: 1 } })
})

test('idle() resolves when nothing is left', async () => {
  const { outbox, clock } = scene(statuses(503))
  await outbox.idle()
  outbox.send(1).catch(() => {})
  let isIdle = false
  void outbox.idle().then(() => {
    isIdle = true
  })
  await clock.advance(0)
  expect(isIdle).toBe(false)
  await clock.advance(5_000)
  expect(isIdle).toBe(true)
})

test('close() ends the rest: what left is uncertain, what did not is closed, and nothing is left behind', async () => {
  const { outbox, clock, requests } = scene(hangs)
  const ends = [endOf(outbox.send('left')), endOf(outbox.send('did not'))]
  await settle()
  await outbox.close()
  expect(ends.map(({ end }) => end)).toEqual(['UNCERTAIN', 'CLOSED'])
  expect([clock.pending, requests[0]?.init.signal?.aborted, outbox.state]).toEqual([0, true, 'closed'])
  expect(() => outbox.send('late')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  await outbox.idle()
  await outbox.close()
  expect(isAccounted(outbox)).toBe(true)
})

test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'closed %i steps after it was sent, a message has left or is closed, and not both',
  async (steps) => {
    const { outbox, requests } = scene(hangs)
    const sent = endOf(outbox.send('x', { retry: false }))
    for (let step = 0; step < steps; step++) await Promise.resolve()
    await outbox.close()
    await settle()
    expect(sent.end).toBe(requests.length === 0 ? 'CLOSED' : 'UNCERTAIN')
  },
)

test.each([true, false])(
  'closed at any step around its answer, a message has left or is closed (retry: %s)',
  async (retry) => {
    const ends = new Set<string>()
    for (let steps = 0; steps < 60; steps++) {
      const { outbox, requests } = scene(accepts)
      const sent = endOf(outbox.send('x', { retry }))
      for (let step = 0; step < steps; step++) await Promise.resolve()
      await outbox.close()
      await settle()
      expect(sent.end === 'CLOSED', `closed after ${steps} steps`).toBe(requests.length === 0)
      ends.add(sent.end)
    }
    expect(ends).toEqual(new Set(['CLOSED', 'UNCERTAIN', 'accepted']))
  },
)

test('close({ drainMs }) waits for the rest, yet not longer', async () => {
  const drained = scene(statuses(503))
  const sent = endOf(drained.outbox.send('x'))
  const closing = drained.outbox.close({ drainMs: 10_000 })
  expect(() => drained.outbox.send('late')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  await drained.clock.advance(5_000)
  await closing
  expect([sent.end, drained.clock.pending]).toEqual(['accepted', 0])

  const stalled = scene(() => new Response(null, { status: 503 }))
  const stays = endOf(stalled.outbox.send('x'))
  const late = stalled.outbox.close({ drainMs: 10_000 })
  await stalled.clock.advance(10_000)
  await late
  expect([stays.end, stalled.clock.pending]).toEqual(['CLOSED', 0])
})

test('each message shows where it is', async () => {
  const { outbox, clock, changes } = scene(statuses(503))
  void outbox.send('x', { key: 'k', lane: 'l' })
  void outbox.send('y', { lane: 'l' })
  await clock.advance(0)
  expect(outbox.items()).toMatchObject([
    { key: 'k', lane: 'l', state: 'waiting', attempts: 1, body: 'x', restored: false },
    { lane: 'l', state: 'queued' },
  ])
  await clock.advance(10_000)
  const states = changes.filter(({ item }) => item?.key === 'k').map(({ item }) => [item?.state, item?.attempts])
  expect(states).toEqual([
    ['queued', 0],
    ['sending', 1],
    ['waiting', 1],
    ['sending', 2],
    ['accepted', 2],
  ])
})

test('a listener that throws, closes or sends does no harm', async () => {
  const { outbox, clock } = scene(hangs, { maxItems: 2, overflow: 'drop-oldest' })
  outbox.onState(({ item }) => {
    if (item?.state === 'failed' && item.error?.code === 'OUTBOX_FULL') outbox.send('again').catch(() => {})
    throw new Error('listener')
  })
  for (const text of ['a', 'b', 'c', 'd']) {
    try {
      outbox.send(text).catch(() => {})
    } catch {
      // Full: what was dropped was sent again.
    }
    expect(outbox.size).toBeLessThanOrEqual(2)
  }
  expect(isAccounted(outbox)).toBe(true)
  await outbox.close()
  expect(clock.pending).toBe(0)
})

test('what a listener sends waits behind the message that it was told of', async () => {
  const { outbox, bodies } = scene()
  outbox.onState(({ item }) => {
    if (item?.state === 'queued' && item.body.length === 1) void outbox.send(`${item.body} again`)
  })
  void outbox.send('a')
  void outbox.send('b')
  await outbox.idle()
  expect(bodies).toEqual(['a', 'a again', 'b', 'b again'])
})

test('an outbox that is closed by those who hear of what was dropped takes nothing in', async () => {
  const { outbox, clock, requests } = scene(accepts, { maxItems: 1, overflow: 'drop-oldest' })
  outbox.onState(({ item }) => {
    if (item?.state === 'failed') void outbox.close()
  })
  outbox.pause()
  const dropped = endOf(outbox.send('a'))
  expect(() => outbox.send('b')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  outbox.resume()
  await clock.advance(1_000)
  expect([dropped.end, requests.length, outbox.size, isAccounted(outbox)]).toEqual(['OUTBOX_FULL', 0, 0, true])
})

test.each([
  ['queued', false],
  ['sending', false],
  ['queued', true],
  ['sending', true],
])('closed by those who hear that it is %s (retry: %s), a message does not leave', async (state, retry) => {
  const { outbox, clock, requests } = scene(accepts)
  outbox.onState(({ item }) => {
    if (item?.state === state) void outbox.close()
  })
  const sent = endOf(outbox.send('x', { retry }))
  await clock.advance(1_000)
  expect([sent.end, requests.length, clock.pending]).toEqual(['CLOSED', 0, 0])
})

test('closed by those who hear that it waits for new headers, an outbox does not ask for them', async () => {
  let made = 0
  const { outbox, clock } = scene(() => new Response(null, { status: 401 }), { headers: () => ({ n: String(++made) }) })
  outbox.onState(({ item }) => {
    if (item?.state === 'waiting') void outbox.close()
  })
  const sent = endOf(outbox.send('x'))
  await clock.advance(1_000)
  expect([sent.end, made, clock.pending]).toEqual(['CLOSED', 1, 0])
})

const cyclic: Record<string, unknown> = {}
cyclic.self = cyclic

test.each([
  ['undefined', undefined],
  ['a function', () => {}],
  ['a bigint', 1n],
  ['what holds itself', cyclic],
  ['a promise', Promise.resolve()],
  ['bytes', new Uint8Array(1)],
  ['a form', new FormData()],
  ['a Map', new Map()],
])('%s cannot be sent, and is refused at the door', (_, data) => {
  const { outbox } = scene()
  expect(() => outbox.send(data)).toThrow(TypeError)
  expect(outbox.counters.enqueued).toBe(0)
})

test.each([
  ['key', { key: '' }],
  ['key', { key: ' blank' }],
  ['key', { key: 'ü' }],
  ['key', { key: 'x'.repeat(256) }],
  ['lane', { lane: '' }],
  ['retry', { retry: 'no' as never }],
  ['lane', { retry: false, lane: 'a' }],
])('a wrong `%s` is a TypeError', (name, options) => {
  const { outbox } = scene()
  expect(() => outbox.send('x', options)).toThrow(new RegExp(`\`${name}\``))
})

test.each([
  ['maxAgeMs', { maxAgeMs: 86_400_001 }],
  ['maxItems', { maxItems: 0 }],
  ['maxBytes', { maxBytes: -1 }],
  ['overflow', { overflow: 'drop' as never }],
  ['timeoutMs', { timeoutMs: 0 }],
  ['stream', { stream: {} as never }],
  ['stream', { whenReady: true }],
  ['headers', { headers: { 'x y': 'z' } }],
  ['storage', { storage: {} as never }],
  ['onState', { onState: 1 as never }],
])('a wrong option `%s` is a TypeError', (name, options) => {
  expect(() => createOutbox('http://test/', options)).toThrow(new RegExp(`\`${name}\``))
})

test('an address that leads nowhere is a TypeError', () => {
  expect(() => createOutbox('/messages')).toThrow(/`url` to be absolute/)
  expect(() => createOutbox(5 as never)).toThrow(/`url`/)
})

test('an answer of a `fetch` that knows no headers is an answer', async () => {
  const { outbox } = scene(() => ({ ok: true, status: 200 }) as Response)
  await expect(outbox.send('x')).resolves.toMatchObject({ status: 200, body: '' })
})
