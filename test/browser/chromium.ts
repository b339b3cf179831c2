import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, inject } from 'vitest'

const EXECUTABLE = '/usr/bin/chromium'
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

let launched: Promise<Browser> | undefined

/** One browser for all tests of a file. */
export function browser(): Promise<Browser> {
  // Playwright turns off the cache of pages left behind; ours are to come back from it.
  const ignoreDefaultArgs = ['--disable-back-forward-cache']
  launched ??= chromium.launch({ executablePath: EXECUTABLE, args: ARGS, ignoreDefaultArgs })
  return launched
}

afterAll(async () => {
  await (await launched)?.close()
  launched = undefined
})

/** A page of its own, with nothing remembered. Its errors are kept. */
export interface Tab extends AsyncDisposable {
  readonly context: BrowserContext
  readonly page: Page
  /** What scripts of the page threw and nobody caught. */
  readonly errors: readonly string[]
}

/** Opens a tab. Without a browser or a build the test is skipped with the reason, or fails where both must be there. */
export async function openTab(skip: (reason: string) => void, options: BrowserContextOptions = {}): Promise<Tab> {
  const buildError = inject('buildError')
  if (buildError) throw new Error(buildError)
  if (!existsSync(EXECUTABLE)) {
    if (process.env.CI) throw new Error(`${EXECUTABLE} is not there`)
    skip(`${EXECUTABLE} is not there`)
  }
  const context = await (await browser()).newContext(options)
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  return { context, page, errors, [Symbol.asyncDispose]: () => context.close() }
}
