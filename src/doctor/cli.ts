#!/usr/bin/env node
import { main } from './main.js'

const stop = new AbortController()
// Asked to end, it says what it saw so far; asked again, it goes.
process.once('SIGINT', () => stop.abort())

const { stdout, stderr, env } = process
const terminal = {
  out: (text: string) => void stdout.write(text),
  error: (text: string) => void stderr.write(text),
  columns: stdout.isTTY ? stdout.columns : undefined,
  showsProgress: stderr.isTTY === true,
  isColoured: stdout.isTTY === true && !env.NO_COLOR,
}

main(process.argv.slice(2), terminal, stop.signal).then(
  (code) => {
    process.exitCode = code
  },
  () => {
    process.exitCode = 2
  },
)
