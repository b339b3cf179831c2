import type { EventStore, Hint } from '../protocol/store.js'
import { check, equal } from './conformance.js'
import type { StoreStatement, StoreWorld } from './store-world.js'

const ROUNDS = 20
/** How long to look whether something comes that must not. */
const QUIET_MS = 60

/** Hints: that they come, when, and to whom. */
export const watchStatements: readonly StoreStatement[] = [
  {
    name: 'a watch is confirmed when it resolves: an append right after it is hinted at',
    needs: ['hints'],
    async run(world) {
      const [store = world.store, writer = world.store] = await world.stores(2)
      for (let round = 1; round <= ROUNDS; round++) {
        const stream = `${world.stream}-${round}`
        let hints = 0
        const unwatch = await watch(world, () => hints++, { store, stream })
        await world.append(['x'], { to: writer, stream })
        await world.until(() => hints > 0, `a hint at what was appended right after watch resolved (round ${round})`)
        unwatch()
      }
    },
  },
  {
    name: 'a hint comes when the data can be read, never before the commit',
    needs: ['hints'],
    async run(world) {
      const [store = world.store, writer = world.store] = await world.stores(2)
      await store.open(world.stream)
      const untrue: string[] = []
      const looks: Promise<void>[] = []
      let seen = 0
      const look: Hint = (to) => {
        const read = async () => {
          const { head } = await world.read(0, 0, { from: store })
          seen = Math.max(seen, head)
          if (to && head < to.head) untrue.push(`a hint at ${to.head} came when the head was ${head}`)
        }
        looks.push(read())
      }
      const unwatch = await watch(world, look, { store })
      for (let n = 1; n <= ROUNDS; n++) {
        await world.append(['x'], { to: writer })
        await world.until(() => seen >= n, `a hint after which offset ${n} can be read`)
      }
      unwatch()
      await Promise.all(looks)
      equal(untrue, [], 'the hints that were not true yet')
    },
  },
  {
    name: 'every watcher of a stream is hinted at, until it stops watching',
    needs: ['hints'],
    async run(world) {
      const counts = [0, 0]
      const [first, second] = [
        await watch(world, () => increment(counts, 0)),
        await watch(world, () => increment(counts, 1)),
      ]
      await world.append(['1'])
      await world.until(() => counts.every((count) => count > 0), 'a hint to both watchers')
      await world.pass(QUIET_MS)
      first()
      first()
      const [before] = counts
      counts[1] = 0
      await world.append(['2'])
      await world.until(() => counts[1] !== 0, 'a hint to the watcher that is left')
      await world.pass(QUIET_MS)
      equal(counts[0], before, 'the number of hints to the watcher that stopped')
      second()
    },
  },
  {
    name: 'one function that watches twice is two watchers',
    needs: ['hints'],
    async run(world) {
      let hints = 0
      const hint = () => hints++
      const [one, two] = [await watch(world, hint), await watch(world, hint)]
      one()
      await world.append(['x'])
      await world.until(() => hints > 0, 'a hint to the watch that is left')
      two()
    },
  },
  {
    name: 'a watcher hears of its own stream only',
    needs: ['hints'],
    async run(world) {
      let [mine, others] = [0, 0]
      const stop = await watch(world, () => mine++)
      const stopOther = await watch(world, () => others++, { stream: `${world.stream}-other` })
      await world.append(['x'], { stream: `${world.stream}-other` })
      await world.until(() => others > 0, 'a hint to the watcher of the stream that moved')
      await world.pass(QUIET_MS)
      equal(mine, 0, 'the number of hints to the watcher of another stream')
      stop()
      stopOther()
    },
  },
  {
    name: 'a seal is hinted at',
    needs: ['hints'],
    async run(world) {
      const [store = world.store, writer = world.store] = await world.stores(2)
      await world.append(['x'])
      let hints = 0
      const unwatch = await watch(world, () => hints++, { store })
      await world.pass(QUIET_MS)
      hints = 0
      await writer.seal(world.stream)
      await world.until(() => hints > 0, 'a hint at the seal')
      unwatch()
    },
  },
]

async function watch(
  world: StoreWorld,
  hint: Hint,
  { store = world.store, stream = world.stream }: { store?: EventStore; stream?: string } = {},
): Promise<() => void> {
  const unwatch = await world.settled(store.watch(stream, hint), 'the watch to be confirmed')
  check(typeof unwatch === 'function', `Expected watch to resolve with a function, got ${typeof unwatch}`)
  return unwatch
}

function increment(counts: number[], index: number): void {
  counts[index] = (counts[index] ?? 0) + 1
}
