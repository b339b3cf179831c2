import { HELP, readArguments } from './arguments.js'
import { examine } from './examine.js'
import type { Progress } from './probe.js'
import { report } from './report.js'
import { seconds, size } from './say.js'

/** Where a command writes to. */
export interface Terminal {
  out(text: string): void
  error(text: string): void
  /** Columns of the output; undefined when it is no terminal. */
  readonly columns: number | undefined
  /** Whether the error output is a terminal: only there is progress shown. */
  readonly showsProgress: boolean
  readonly isColoured: boolean
}

const EXIT = { ok: 0, problem: 1, unknown: 2 }
const CLEAR = '\r\u001b[K'

/** Runs the command, and returns its exit code: 0 ok, 1 a problem was found, 2 it could not be told, or misuse. */
export async function main(args: readonly string[], terminal: Terminal, signal?: AbortSignal): Promise<number> {
  const command = readArguments(args)
  if (command.is === 'help') {
    terminal.out(HELP)
    return 0
  }
  if (command.is === 'wrong') {
    terminal.error(`${command.reason}\nSee: steady-sse --help\n`)
    return 2
  }
  const { url, origin, headers, watchMs, insecure, json } = command
  const onProgress = terminal.showsProgress ? (now: Progress) => terminal.error(CLEAR + progressOf(now)) : undefined
  try {
    if (terminal.showsProgress) terminal.error('connecting …')
    const examination = await examine(url, origin, { headers, watchMs, insecure, onProgress, signal })
    if (terminal.showsProgress) terminal.error(CLEAR)
    const { isColoured, columns } = terminal
    terminal.out(
      json ? `${JSON.stringify(examination, null, 2)}\n` : report(examination, { isColoured, width: columns }),
    )
    return EXIT[examination.diagnosis.outcome]
  } catch (error) {
    // A message of ours repeats nothing secret; of another's that is not known.
    terminal.error(
      error instanceof TypeError && error.message.startsWith('Expected ') ? `${error.message}\n` : 'The probe failed\n',
    )
    return 2
  }
}

function progressOf({ elapsedMs, limitMs, status, frames, bytes }: Progress): string {
  return `${seconds(elapsedMs)} of at most ${seconds(limitMs)} · ${status ?? 'no head'} · ${frames} frames, ${size(bytes)}`
}
