import { expect, test } from 'vitest'
import { numbers, publishMany, world } from '../support/world.js'

test('a poll that has something to bring is answered with it at once, and ends without an end frame', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 'news', 5)
  const reader = await it.read(`/news?poll=25&lastEventId=${cursors[2]}`)
  await reader.end()
  expect(reader.complete).toBe(true)
  expect(reader.names).toEqual(['stream:ready', 'message', 'message', 'message'])
  expect(reader.events).toEqual(['3', '4', '5'])
  expect(reader.frames.at(-1)?.id).toBe(cursors[5])
  expect(it.hub.stats().closed).toMatchObject({ poll: 1 })
})

test('a poll waits for the first batch, whole', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 'news', 1)
  const reader = await it.read(`/news?poll=25&lastEventId=${cursors[1]}`)
  await reader.until(({ frames }) => frames.length === 1)
  await it.clock.advance(10_000)
  expect(reader.over).toBe(false)
  await it.hub.publish('news', [{ data: 'a' }, { data: 'b' }])
  await reader.end()
  expect(reader.events).toEqual(['a', 'b'])
})

test('a poll that finds nothing is answered with ready alone, after its wait', async () => {
  await using it = await world()
  const reader = await it.read('/news?poll=2')
  await reader.until(({ frames }) => frames.length === 1)
  await it.clock.advance(1_999)
  expect(reader.over).toBe(false)
  await it.clock.advance(1)
  await reader.end()
  expect(reader.complete).toBe(true)
  expect(reader.names).toEqual(['stream:ready'])
  const again = await it.read(`/news?poll=2&lastEventId=${reader.frames[0]?.id}`)
  await it.hub.publish('news', { data: 'after' })
  await again.end()
  expect(again.events).toEqual(['after'])
  expect(again.json('stream:ready')).toMatchObject({ resumed: 'ok' })
})

test('a gap counts as a batch', async () => {
  await using it = await world()
  await publishMany(it.hub, 'news', 1)
  const reader = await it.read('/news?poll=25&lastEventId=what?')
  await reader.end()
  expect(reader.names).toEqual(['stream:ready', 'stream:gap'])
})

test('a poll of a complete stream brings the rest and the end, then 204', async () => {
  await using it = await world()
  const cursors = await publishMany(it.hub, 'news', 2)
  await it.hub.seal('news')
  const reader = await it.read(`/news?poll=25&lastEventId=${cursors[1]}`)
  await reader.end()
  expect(reader.names).toEqual(['stream:ready', 'message', 'stream:end'])
  expect((await it.read(`/news?poll=25&lastEventId=${cursors[2]}`)).status).toBe(204)
})

test('polls bring a long log piece by piece, in order, each piece once', async () => {
  await using it = await world()
  const data = 'x'.repeat(1_000)
  await it.hub.publish(
    'news',
    numbers(1, 2_000).map((n) => ({ data: `${n} ${data}` })),
  )
  const seen: string[] = []
  let cursor = ''
  let polls = 0
  while (seen.length < 2_000) {
    const reader = await it.read(`/news?poll=1&${cursor ? `lastEventId=${cursor}` : 'from=earliest'}`)
    await reader.end()
    seen.push(...reader.events.map((text) => text.split(' ')[0] as string))
    cursor = reader.frames.at(-1)?.id as string
    polls++
  }
  expect(seen).toEqual(numbers(1, 2_000))
  expect(polls).toBeGreaterThan(4)
  expect(polls).toBeLessThan(12)
})

test('a client that leaves a poll leaves no timer behind', async () => {
  await using it = await world()
  await publishMany(it.hub, 'news', 1)
  const before = it.clock.pending
  const reader = await it.read('/news?poll=25')
  await reader.until(({ frames }) => frames.length === 1)
  expect(it.clock.pending).toBeGreaterThan(before)
  reader.destroy()
  await it.served.idle()
  expect(it.clock.pending).toBe(before)
})

test.each(['0', '26', '-1', '1.5', 'yes', '', '01'])(
  'a poll of %j seconds is refused with a reason',
  async (seconds) => {
    await using it = await world()
    const reader = await it.read(`/news?poll=${seconds}`)
    await reader.end()
    expect(reader.status).toBe(400)
    expect(reader.body).toContain('1 to 25')
  },
)
