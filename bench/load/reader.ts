// A client as an application has it: from the publish in one process to the handler in another.
import { connect, type EventStream } from 'steady-sse/client'
import { answer } from '../child.js'
import { DIGITS, microseconds, STAMP_DIGITS } from '../payload.js'
import { Histogram } from '../statistics.js'

let latency = new Histogram()
let disordered = 0
let next: number | undefined
let stream: EventStream

const verbs = {
  open(port: number): void {
    stream = connect(`http://127.0.0.1:${port}/`)
    void (async () => {
      for await (const item of stream) {
        if (item.type !== 'event') continue
        // Some send JSON, and so a quotation mark before it.
        const from = item.data.indexOf('~') + 1
        const number = Number(item.data.slice(from, from + DIGITS))
        if (next !== undefined && number !== next) disordered++
        next = number + 1
        const made = Number(item.data.slice(from + DIGITS, from + DIGITS + STAMP_DIGITS))
        latency.add(Math.max(1, microseconds() - made))
      }
    })()
  },
  close: (): void => stream.close(),
  forget(): void {
    latency = new Histogram()
    disordered = 0
    next = undefined
  },
  found: () => ({ p50: latency.percentile(0.5), p99: latency.percentile(0.99), count: latency.count, disordered }),
}

export type ReaderVerbs = typeof verbs

answer(verbs)
