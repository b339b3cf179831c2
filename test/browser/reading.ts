import type { Page } from 'playwright-core'
import type { ConnectOptions, StateChange } from '../../src/client/index.js'
import type { Steady } from './site.js'

type Reading = Steady & {
  handed: string[]
  changes: StateChange[]
  streams: ReturnType<Steady['steady']['connect']>[]
}

/** Begins to read a stream in the page, with the package's browser file; `extra` is what can be passed into a page. */
export async function read(page: Page, url: string, extra: Omit<ConnectOptions, 'signal'> = {}): Promise<void> {
  await page.evaluate(begin, [url, extra] as [string, ConnectOptions])
}

function begin([url, extra]: [string, ConnectOptions]): void {
  const scope = window as unknown as Reading
  scope.handed ??= []
  scope.changes ??= []
  scope.streams ??= []
  const stream = scope.steady.connect(url, { ...extra, onState: (change) => scope.changes.push(change) })
  scope.streams.push(stream)
  void (async () => {
    try {
      for await (const item of stream) scope.handed.push(item.type === 'event' ? item.data : `gap ${item.reason}`)
      scope.handed.push('the end')
    } catch (error) {
      scope.handed.push(`${(error as { code?: string }).code}`)
    }
  })()
}

/** What all streams of the page handed over. */
export function handed(page: Page): Promise<string[]> {
  return page.evaluate(() => (window as unknown as Reading).handed)
}

/** The newest change of state of a page with one stream. */
export function newest(page: Page): Promise<StateChange | undefined> {
  return page.evaluate(() => (window as unknown as Reading).changes.at(-1))
}

export function states(page: Page): Promise<string[]> {
  return page.evaluate(() => (window as unknown as Reading).streams.map(({ state }) => state))
}

export async function closeStream(page: Page, index: number): Promise<void> {
  await page.evaluate((at) => (window as unknown as Reading).streams[at]?.close(), index)
}
