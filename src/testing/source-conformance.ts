import { randomEpoch } from '../protocol/cursor.js'
import type { PublishEvent } from '../protocol/event.js'
import type { Source } from '../protocol/source.js'
import { type Case, casesOf, check, equal, type Statement } from './conformance.js'
import { type Timed, Waiting } from './waiting.js'

/** What `sourceConformance` needs of a source under test, made anew for every case. */
export interface SourceHarness extends Timed {
  readonly source: Source
  /** Brings an event to `stream` from outside, and resolves when the broker has it. All data are strings. */
  emit(stream: string, event: PublishEvent): void | Promise<void>
  /**
   * Breaks the source's connection to its broker, where it has one, so that events may be lost; resolves when it is
   * broken. The returned function lets it come back, and resolves when it has.
   */
  drop?(): Promise<() => void | Promise<void>>
  /** How many subscriptions the broker, or the bus, has now. */
  subscriptions?(): number | Promise<number>
  /** Frees what the harness holds. */
  close(): void | Promise<void>
}

const ROUNDS = 20
const QUIET_MS = 60

/**
 * What the port `Source` means, as cases to run against a source: a join that is confirmed, order, a leave that
 * ends, an abort that leaves nothing, and losses that are told.
 *
 * @param make - makes a new harness for each case.
 * @example
 * ```ts
 * for (const each of sourceConformance(make)) {
 *   test(each.name, async ({ skip }) => {
 *     await each.run()
 *     skip(each.skipped !== undefined, each.skipped)
 *   })
 * }
 * ```
 */
export function sourceConformance(make: () => SourceHarness | Promise<SourceHarness>): Case[] {
  const begin = async (harness: SourceHarness) => new SourceWorld(harness)
  return casesOf(statements, make, begin, (need, _, harness) =>
    harness[need as keyof SourceHarness] === undefined ? `the harness has no \`${need}\`` : undefined,
  )
}

const statements: readonly Statement<SourceHarness, SourceWorld>[] = [
  {
    name: 'a join is confirmed when it resolves: an event right after it is delivered',
    needs: [],
    async run(world) {
      for (let round = 1; round <= ROUNDS; round++) {
        const { stream, heard } = await world.join()
        await world.emit(stream, 'right after')
        await world.hears(heard, ['right after'], `the event right after the join (round ${round})`)
      }
    },
  },
  {
    name: 'events arrive in order, each once, however fast they come',
    needs: [],
    async run(world) {
      const { stream, heard } = await world.join()
      const texts = Array.from({ length: 200 }, (_, n) => String(n))
      for (const text of texts.slice(0, 100)) await world.emit(stream, text)
      await Promise.all(texts.slice(100).map((text) => world.emit(stream, text)))
      await world.hears(heard, texts, '200 events')
      await world.pass(QUIET_MS)
      equal(heard, texts, 'what was delivered')
    },
  },
  {
    name: 'an event arrives with its name, its data and its key',
    needs: [],
    async run(world) {
      const events: PublishEvent[] = []
      const { stream } = await world.join({ take: async (event) => void events.push(event) })
      const sent = { event: 'näme', data: 'line 1\nline 2 ä漢😀', key: 'key-1' }
      await world.harness.emit(stream, sent)
      await world.until(() => events.length > 0, 'the event')
      const [{ event, data, key } = { event: '', data: '', key: '' }] = events
      equal({ event, data, key }, sent, 'the event')
    },
  },
  {
    name: 'streams do not mix, and to leave one does not end another',
    needs: [],
    async run(world) {
      const [one, two] = [await world.join(), await world.join()]
      await world.emit(one.stream, '1')
      await world.emit(two.stream, '2')
      await world.hears(one.heard, ['1'], 'the event of the first stream')
      await world.hears(two.heard, ['2'], 'the event of the second stream')
      await one.leave()
      await world.emit(two.stream, '3')
      await world.hears(two.heard, ['2', '3'], 'the event after the other stream was left')
      equal(one.heard, ['1'], 'what was delivered to the first stream')
    },
  },
  {
    name: 'two joins of one stream are two subscriptions: each hears everything until it leaves',
    needs: [],
    async run(world) {
      const one = await world.join()
      const two = await world.join({ stream: one.stream })
      await world.emit(one.stream, '1')
      await world.hears(one.heard, ['1'], 'the event, in the first join')
      await world.hears(two.heard, ['1'], 'the event, in the second join')
      await one.leave()
      await world.emit(one.stream, '2')
      await world.hears(two.heard, ['1', '2'], 'the event, in the join that is left')
      equal(one.heard, ['1'], 'what was delivered to the join that ended')
    },
  },
  {
    name: 'leave ends the delivery, can be called twice, and leaves nothing behind',
    needs: [],
    async run(world) {
      const before = await world.subscriptions()
      const { stream, heard, leave } = await world.join()
      await world.emit(stream, '1')
      await world.hears(heard, ['1'], 'the event before the leave')
      await leave()
      await leave()
      await world.emit(stream, '2')
      await world.pass(QUIET_MS)
      equal(heard, ['1'], 'what was delivered')
      equal(await world.subscriptions(), before, 'the number of subscriptions')
    },
  },
  {
    name: 'a stream that was left can be joined again',
    needs: [],
    async run(world) {
      const first = await world.join()
      await first.leave()
      const { stream, heard } = await world.join({ stream: first.stream })
      await world.emit(stream, '1')
      await world.hears(heard, ['1'], 'the event after the second join')
      equal(first.heard, [], 'what was delivered to the first join')
    },
  },
  {
    name: 'a join that is aborted leaves nothing behind, whether it still resolves or not',
    needs: [],
    async run(world) {
      const before = await world.subscriptions()
      for (const turns of [0, 1, 5]) {
        const controller = new AbortController()
        const stream = world.name()
        const heard: string[] = []
        const joining = world.harness.source.join(stream, world.listener(heard), controller.signal)
        // What it comes to is looked at below.
        joining.catch(() => {})
        for (let turn = 0; turn < turns; turn++) await world.pass(1)
        controller.abort(new Error('nobody waits any more'))
        const leave = await world.settled(
          joining.catch(() => undefined),
          'the aborted join to resolve or reject',
        )
        await leave?.()
        await world.emit(stream, 'too late')
        await world.pass(QUIET_MS)
        equal(heard, [], 'what was delivered after the abort')
        equal(await world.subscriptions(), before, 'the number of subscriptions')
      }
    },
  },
  {
    name: 'a consumer that is slow, or rejects, ends nothing and changes no order',
    needs: [],
    async run(world) {
      const heard: string[] = []
      const take = async (event: PublishEvent) => {
        heard.push(String(event.data))
        await world.moment()
        if (heard.length % 3 === 0) throw new Error('the store did not take it')
      }
      const { stream } = await world.join({ take })
      const texts = Array.from({ length: 12 }, (_, n) => String(n))
      for (const text of texts) await world.emit(stream, text)
      await world.hears(heard, texts, '12 events')
    },
  },
  {
    name: 'when events may have been lost, lost() says so before the next event',
    needs: ['drop'],
    async run(world) {
      const { stream, heard } = await world.join()
      await world.emit(stream, '1')
      await world.hears(heard, ['1'], 'the event before the break')
      const mend = await world.harness.drop?.()
      await world.emit(stream, 'perhaps')
      await mend?.()
      await world.emit(stream, '2')
      await world.until(() => heard.at(-1) === '2', 'the event after the break')
      const between = heard.slice(1, -1)
      equal(between[0], 'lost', 'what is told first after the break')
      equal(
        between.filter((each) => each !== 'lost' && each !== 'perhaps'),
        [],
        'what else is told',
      )
    },
  },
]

type Take = (event: PublishEvent) => Promise<void>

interface Joined {
  readonly stream: string
  /** The data of what was delivered, and `lost`. */
  readonly heard: string[]
  leave(): Promise<void>
}

class SourceWorld extends Waiting implements AsyncDisposable {
  readonly harness: SourceHarness
  readonly #joined: Joined[] = []

  constructor(harness: SourceHarness) {
    super(harness)
    this.harness = harness
  }

  name(): string {
    return `conformance-${randomEpoch()}`
  }

  listener(heard: string[], take: Take = async () => {}): Parameters<Source['join']>[1] {
    return {
      event: (event) => {
        heard.push(String(event.data))
        return take(event)
      },
      lost: () => void heard.push('lost'),
    }
  }

  async join({ stream = this.name(), take }: { stream?: string; take?: Take } = {}): Promise<Joined> {
    const heard: string[] = []
    const joining = this.harness.source.join(stream, this.listener(heard, take), new AbortController().signal)
    const leave = await this.settled(joining, 'the join to be confirmed')
    check(typeof leave === 'function', `Expected join to resolve with a function, got ${typeof leave}`)
    const joined = { stream, heard, leave: async () => this.settled(Promise.resolve(leave()), 'the leave to end') }
    this.#joined.push(joined)
    return joined
  }

  async emit(stream: string, data: string): Promise<void> {
    await this.harness.emit(stream, { data })
  }

  async hears(heard: readonly string[], texts: readonly string[], what: string): Promise<void> {
    await this.until(() => heard.length >= texts.length, what)
    equal(heard, texts, 'what was delivered')
  }

  async subscriptions(): Promise<number | undefined> {
    return this.harness.subscriptions?.()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#joined.map(({ leave }) => leave()))
  }
}
