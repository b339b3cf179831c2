import { isDeepStrictEqual } from 'node:util'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as kinds from './kinds.js'
import { HEARTBEAT_MS, IDLE_S, type Measured, measure } from './measure.js'
import { isWriting, partOf, type Row, tableOf, writePart } from './page.js'
import { isThere, skipWithout, startProxy, versionOf } from './proxy.js'
import { type SetUp, setUps } from './set-ups.js'
import { startUpstream } from './upstream.js'

/** The machine may be busy; what holds streams back does so each time. */
const TRIES = 3
const rows = new Map<SetUp, Measured>()
const present = setUps.filter((setUp) => 'site' in setUp)

for (const kind of Object.values(kinds)) {
  describe(`behind ${kind.name}:`, () => {
    const mine = present.filter((setUp) => setUp.kind === kind)
    const failures = new Map<SetUp, unknown>()

    // All set-ups at once: each takes seconds in which next to nothing is done.
    beforeAll(async () => {
      if (!isThere(kind)) return
      console.log(`${kind.name} ${versionOf(kind)}`)
      await Promise.all(
        mine.map(async (setUp) => {
          try {
            rows.set(setUp, await measureSetUp(setUp))
          } catch (error) {
            failures.set(setUp, error)
          }
        }),
      )
    }, 90_000)

    beforeEach((context) => skipWithout(kind, context))

    for (const setUp of mine) {
      test(`${setUp.name}: ${summaryOf(setUp)}`, () => {
        if (failures.has(setUp)) throw failures.get(setUp)
        const measured = rows.get(setUp)
        console.log(`${kind.name}, ${setUp.name}: ${measured?.detail}`)
        expect(measured?.verdicts).toEqual(setUp.expected)
      })
    }
  })
}

test('docs/proxies.md carries the table of what was measured here', async ({ skip }) => {
  const missing = Object.values(kinds).filter((kind) => !isThere(kind))
  if (missing.length > 0) skip(`not on the machine: ${missing.map(({ name }) => name).join()}`)
  const all: Row[] = setUps.map((setUp) => ({
    ...setUp,
    verdicts: 'reason' in setUp ? setUp.reason : (rows.get(setUp)?.verdicts ?? 'not measured'),
  }))
  const table = tableOf(all)
  console.log(table)
  if (isWriting) {
    await writePart('table', table)
    const versions = Object.values(kinds).map((kind) => `${kind.name} ${versionOf(kind)}`)
    await writePart('versions', `Measured with Debian's ${versions.join(', ')}.\n`)
  }
  expect(await partOf('table')).toBe(table)
})

function summaryOf({ expected: { events, idle } }: SetUp): string {
  return `events are ${events}, a quiet stream is ${idle}`
}

async function measureSetUp(setUp: SetUp): Promise<Measured> {
  const { kind, site, values, isHttp2 = false, heartbeatMs = HEARTBEAT_MS, expected } = setUp
  for (let attempt = 1; ; attempt++) {
    try {
      await using upstream = await startUpstream(heartbeatMs)
      await using proxy = await startProxy(kind, site, { ...values, upstream: upstream.port, idle: IDLE_S })
      const measured = await measure(proxy.url, upstream, { isHttp2 }).catch((error) => {
        throw new Error(`${kind.name} with ${site} said:\n${proxy.log}`, { cause: error })
      })
      if (attempt === TRIES || isDeepStrictEqual(measured.verdicts, expected)) return measured
      console.log(`${kind.name}, ${setUp.name}, once more after: ${JSON.stringify(measured)}`)
    } catch (error) {
      if (attempt === TRIES) throw error
      console.log(`${kind.name}, ${setUp.name}, once more after:`, error)
    }
  }
}
