import { isDeepStrictEqual } from 'node:util'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { measurePadding, PADDED_HEARTBEAT_MS, type PaddingVerdicts } from './padding.js'
import { isWriting, type PaddingRow, paddingTableOf, partOf, writePart } from './page.js'
import { skipWithout, startProxy } from './proxy.js'
import { type Padding, paddings } from './set-ups.js'
import { startUpstream } from './upstream.js'

const TRIES = 3
const rows: PaddingRow[] = []

beforeEach((context) => {
  for (const { kind } of paddings) skipWithout(kind, context)
})

beforeAll(async () => {
  try {
    rows.push(...(await Promise.all(paddings.map(measureOne))))
  } catch (error) {
    // Where a proxy is not on the machine, the tests are skipped.
    console.log(error)
  }
}, 60_000)

for (const [n, { kind, name, padBytes, expected }] of paddings.entries()) {
  test(`${kind.name}, ${name}, padBytes ${padBytes}: an event in a quiet stream comes ${expected.event}`, () => {
    expect(rows[n]?.verdicts).toEqual(expected)
  })
}

test('docs/proxies.md carries the table of what padding brings through', async () => {
  const table = paddingTableOf(rows)
  console.log(table)
  if (isWriting) await writePart('padding', table)
  expect(await partOf('padding')).toBe(table)
})

async function measureOne(padding: Padding): Promise<PaddingRow> {
  const { kind, site, padBytes, expected } = padding
  for (let attempt = 1; ; attempt++) {
    await using upstream = await startUpstream(PADDED_HEARTBEAT_MS, { padBytes })
    await using proxy = await startProxy(kind, site, { upstream: upstream.port })
    const { verdicts, detail } = await measurePadding(proxy.url, upstream)
    const row = { ...padding, verdicts: verdicts satisfies PaddingVerdicts }
    if (attempt < TRIES && !isDeepStrictEqual(verdicts, expected)) continue
    console.log(`${kind.name}, ${padding.name}, ${padBytes} bytes: the event ${detail}`)
    return row
  }
}
