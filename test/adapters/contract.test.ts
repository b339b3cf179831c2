import { afterAll, describe, expect, test, vi } from 'vitest'
import { type Cell, cells } from './contract.js'
import { type Harness, harnesses } from './contract-harness.js'

const results = new Map<string, string>()
const key = ({ statement }: Cell, { name }: Harness) => `${name}: ${statement}`

/** Why a cell cannot be there. */
const reasonNot = (cell: Cell, harness: Harness) => (cell.http2 ? harness.withoutHttp2 : undefined)

for (const harness of harnesses) {
  describe(harness.name, () => {
    for (const cell of cells) {
      const reason = reasonNot(cell, harness)
      results.set(key(cell, harness), reason ? 'n.a.' : '-')
      if (reason) continue
      test(cell.statement, async () => {
        const told = vi.spyOn(console, 'error').mockImplementation(() => {})
        const warnings: Error[] = []
        const warned = (warning: Error) => void warnings.push(warning)
        process.on('warning', warned)
        try {
          results.set(key(cell, harness), '✗')
          await cell.run(harness)
          // A client that leaves, above all, is nothing to be told of.
          if (!cell.logs) expect(told).not.toHaveBeenCalled()
          // Of too many listeners, deprecated ways, or fields that Node dropped.
          expect(warnings).toEqual([])
        } finally {
          process.off('warning', warned)
          told.mockRestore()
        }
        results.set(key(cell, harness), '✓')
      })
    }
  })
}

afterAll(() => console.log(table()))

/** Statements down, adapters across. */
function table(): string {
  const width = Math.max(...cells.map(({ statement }) => statement.length))
  const rows = cells.map((cell) => [cell.statement, ...harnesses.map((each) => results.get(key(cell, each)) ?? '')])
  const lines = [['', ...harnesses.map(({ name }) => name)], ...rows].map(([first = '', ...rest]) =>
    [first.padEnd(width), ...rest.map((text) => text.padEnd(7))].join('  ').trimEnd(),
  )
  const reasons = harnesses.flatMap(({ name, withoutHttp2 }) =>
    withoutHttp2 ? [`n.a.: HTTP/2 under ${name} is ${withoutHttp2}.`] : [],
  )
  return ['The contract of the adapters', ...lines, ...reasons].join('\n')
}
