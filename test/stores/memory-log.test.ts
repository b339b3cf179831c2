import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StoredEvent } from '../../src/protocol/store.js'
import { type Limits, MemoryLog } from '../../src/stores/memory-log.js'
import { runs } from '../property/runs.js'

const EVER = {
  maxEvents: Number.MAX_SAFE_INTEGER,
  maxBytes: Number.MAX_SAFE_INTEGER,
  maxAgeMs: Number.MAX_SAFE_INTEGER,
}

type Step =
  | { readonly is: 'append'; readonly count: number; readonly afterMs: number }
  | { readonly is: 'trim'; readonly limits: Partial<Limits> }
  | { readonly is: 'measure' | 'clear' }

const some = (most: number) => fc.integer({ min: 1, max: most })

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ is: fc.constant('append' as const), count: fc.nat(40), afterMs: fc.nat(5) }),
  fc.record({ is: fc.constant('append' as const), count: fc.integer({ min: 100, max: 300 }), afterMs: fc.nat(5) }),
  fc.record({ is: fc.constant('trim' as const), limits: fc.record({ maxEvents: some(150) }) }),
  fc.record({ is: fc.constant('trim' as const), limits: fc.record({ maxBytes: some(2_000) }) }),
  fc.record({ is: fc.constant('trim' as const), limits: fc.record({ maxAgeMs: some(20) }) }),
  fc.record({ is: fc.constantFrom('measure' as const, 'clear' as const) }),
)

interface Held extends StoredEvent {
  readonly at: number
  readonly key: string | undefined
}

/** What a log is to be: the newest of a plain list. */
function play(given: readonly Step[]) {
  const log = new MemoryLog()
  const held: Held[] = []
  let count = 0
  let now = 0.5
  let before = 0
  const bytesOf = () => held.reduce((sum, { data, event = '' }) => sum + data.length + event.length, 0)
  const letGo = (isOver: () => boolean) => {
    while (held.length > 0 && isOver()) before = held.shift()?.tag ?? 0
  }
  for (const next of given) {
    if (next.is === 'append') {
      now += next.afterMs
      const made = Array.from({ length: next.count }, (): Held => {
        const offset = ++count
        const [event, key] = [offset % 3 === 0 ? 'third' : undefined, offset % 5 === 0 ? `key ${offset}` : undefined]
        return { offset, tag: offset * 7, event, data: `event ${offset}`, at: now, key }
      })
      for (const { event, data, key, tag } of made) log.append([{ event, data, key }], { now, tag })
      held.push(...made)
    } else if (next.is === 'trim') {
      const limits = { ...EVER, ...next.limits }
      log.trim(limits, now)
      letGo(
        () =>
          held.length > limits.maxEvents ||
          bytesOf() > limits.maxBytes ||
          now - (held[0]?.at ?? now) >= limits.maxAgeMs,
      )
    } else if (next.is === 'clear') {
      log.clear()
      letGo(() => true)
    } else log.measure()
    const first = count - held.length + 1
    expect(log.view()).toMatchObject({ first, firstTag: before, head: count, headTag: count * 7 })
    expect(log.bytes).toBeGreaterThanOrEqual(bytesOf())
    const known = held.find(({ key }) => key !== undefined)
    if (known) {
      const [again] = log.append([{ event: undefined, data: 'again', key: known.key }], { now, tag: 1 })
      expect(again).toMatchObject({ offset: known.offset, tag: known.tag, duplicate: true })
    }
  }
  log.measure()
  expect(log.bytes).toBe(bytesOf())
  for (const from of [0, count - (held.length >> 1), count]) {
    const { events, tag } = log.page(from, { limit: count + 1 })
    const rest = held.filter(({ offset }) => offset > from)
    expect(events).toEqual(rest.map(({ offset, tag, event, data }) => ({ offset, tag, event, data })))
    if (from >= count - held.length + 1) expect(tag).toBe(from * 7)
  }
}

test('however it grows and is trimmed, a log is the newest of what was put into it', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 25 }), play), { numRuns: runs(150) })
})
