import type { EventStore, Page, ReadOptions } from '../protocol/store.js'

/**
 * Reads a log so that a hole in it can only look like one: what stood there counts as trimmed, and every reader hears of
 * it by a gap. No store makes holes; whoever deletes rows beside it, or restores half a table, does.
 */
export function readDense(
  store: EventStore,
  stream: string,
  offset: number,
  options: ReadOptions,
): Page | null | Promise<Page | null> {
  const page = store.read(stream, offset, options)
  if (page instanceof Promise) return page.then((one) => one && withoutHoles(one, offset, options.limit))
  return page && withoutHoles(page, offset, options.limit)
}

function withoutHoles(page: Page, offset: number, limit: number): Page {
  const { events, head, headTag } = page
  const next = Math.max(offset + 1, page.first)
  // A place behind a hole has no event, and so no tag: it is the one with tag 0.
  const isMissing = page.tag === undefined && offset >= page.first && offset < head
  const tag = isMissing ? 0 : page.tag
  const [begin] = events
  if (begin === undefined) {
    const isLost = limit > 0 && next <= head
    return isLost ? { ...page, tag, first: head + 1, firstTag: headTag } : isMissing ? { ...page, tag } : page
  }
  if (begin.offset !== next) return { ...page, tag, first: begin.offset, firstTag: 0, events: unbroken(events) }
  const whole = unbroken(events)
  return whole === events && !isMissing ? page : { ...page, tag, events: whole }
}

/** The events up to the first hole; what follows is another page's. */
function unbroken(events: Page['events']): Page['events'] {
  const begin = events[0]?.offset ?? 0
  // Without a hole, the last one tells.
  if (events.at(-1)?.offset === begin + events.length - 1) return events
  return events.slice(
    0,
    events.findIndex(({ offset }, index) => offset !== begin + index),
  )
}
