/** One statement of what a port means, to be run against an implementation of it. Knows no test runner. */
export interface Case {
  /** What is so. */
  readonly name: string
  /** What the harness must have for this, besides what every harness has. */
  readonly needs: readonly string[]
  /** Resolves when it is so, or cannot be stated; rejects with an error that says what is not so. */
  run(): Promise<void>
  /** Once run: why it could not be stated. `undefined` when it was. */
  readonly skipped?: string | undefined
}

/** A case before it is given the harness that it is run on. */
export interface Statement<Harness, World> {
  readonly name: string
  readonly needs: readonly string[]
  readonly run: (world: World, harness: Harness) => Promise<void>
}

/** Each statement as a case. Every run has a harness of its own, which is closed after it. */
export function casesOf<Harness extends { close(): void | Promise<void> }, World extends AsyncDisposable>(
  statements: readonly Statement<Harness, World>[],
  make: () => Harness | Promise<Harness>,
  begin: (harness: Harness) => Promise<World>,
  lacks: (need: string, world: World, harness: Harness) => string | undefined,
): Case[] {
  if (typeof make !== 'function') throw new TypeError('Expected `make` to be a function that makes a harness.')
  return statements.map(({ name, needs, run }) => {
    let skipped: string | undefined
    return {
      name,
      needs,
      get skipped() {
        return skipped
      },
      async run() {
        skipped = undefined
        const harness = await make()
        try {
          const world = await begin(harness)
          try {
            const lacking = needs.flatMap((need) => lacks(need, world, harness) ?? [])
            if (lacking.length > 0) skipped = lacking.join('; ')
            else await run(world, harness)
          } finally {
            await world[Symbol.asyncDispose]()
          }
        } finally {
          await harness.close()
        }
      },
    }
  })
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** @param what - the beginning of a sentence that goes on `to be …, got …`. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  const [got, wanted] = [shown(actual), shown(expected)]
  if (got !== wanted) throw new Error(`Expected ${what} to be ${wanted}, got ${got}`)
}

/** As text that is the same for what is the same, whatever the order of the properties. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{ ${entries.map(([name, each]) => `${name}: ${shown(each)}`).join(', ')} }`
  }
  if (typeof value !== 'string') return String(value)
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 60)}… (${value.length} characters)` : value)
}
