import { parseArgs } from 'node:util'
import { addressOf } from './checks.js'

/** What a command line asks for. */
export type Command =
  | { readonly is: 'help' }
  | { readonly is: 'wrong'; readonly reason: string }
  | {
      readonly is: 'doctor'
      readonly url: URL
      readonly origin: URL | undefined
      readonly headers: Readonly<Record<string, string>>
      readonly watchMs: number | undefined
      readonly insecure: boolean
      readonly json: boolean
    }

export const HELP = `steady-sse doctor <url> [options]

Opens a stream, watches what arrives and when, and says what is wrong on its path.

  --origin <url>      the same stream at the application itself, past every proxy: tells what the
                      proxy does from what the application does
  -H 'name: value'    a header to send, as clients do (authorization, cookie); may be repeated
  --seconds <n>       how long to watch (default: 20, or two and a half heartbeats of the stream;
                      less when enough was seen). Above 60, idle timeouts show.
  --insecure          accept any certificate
  --json              the diagnosis and what was seen, as JSON
  -h, --help          this page

Exit code: 0 the stream comes through; 1 a problem was found; 2 it could not be told, or misuse.
What may be secret (values of headers and of the query, user and password) is not printed.
`

const OPTIONS = {
  origin: { type: 'string' },
  header: { type: 'string', short: 'H', multiple: true },
  seconds: { type: 'string' },
  insecure: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** No reason repeats a value: it may be secret. */
export function readArguments(args: readonly string[]): Command {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    return { is: 'wrong', reason: whatIsWrong(error, args) }
  }
  const { values, positionals } = parsed
  const [command, url, ...more] = positionals
  if (values.help || command === 'help') return { is: 'help' }
  if (command === undefined) return { is: 'wrong', reason: 'Expected a command: steady-sse doctor <url>' }
  if (command !== 'doctor') return { is: 'wrong', reason: 'Expected the command `doctor`: steady-sse doctor <url>' }
  if (url === undefined) return { is: 'wrong', reason: 'Expected the address of a stream: steady-sse doctor <url>' }
  if (more.length > 0)
    return { is: 'wrong', reason: `Expected one address, got ${more.length + 1}. Quote what holds spaces or \`&\`.` }
  const watch = values.seconds === undefined ? undefined : Number(values.seconds)
  if (watch !== undefined && !(watch > 0 && watch <= 86_400)) {
    return { is: 'wrong', reason: 'Expected `--seconds` to be a number above 0 and up to 86400' }
  }
  const headers: Record<string, string> = {}
  for (const header of values.header ?? []) {
    const { name, value } = /^(?<name>[!#$%&'*+\-.^_`|~\w]+):\s*(?<value>.*)$/s.exec(header)?.groups ?? {}
    if (name === undefined || value === undefined)
      return { is: 'wrong', reason: "Expected `-H` to be of the form 'name: value'" }
    headers[name.toLowerCase()] = value.trim()
  }
  try {
    return {
      is: 'doctor',
      url: addressOf('url', url),
      origin: values.origin === undefined ? undefined : addressOf('--origin', values.origin),
      headers,
      watchMs: watch === undefined ? undefined : watch * 1_000,
      insecure: values.insecure ?? false,
      json: values.json ?? false,
    }
  } catch (error) {
    return { is: 'wrong', reason: error instanceof TypeError ? error.message : 'The arguments cannot be read' }
  }
}

const parse = (args: readonly string[]) => parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })

function whatIsWrong(error: unknown, args: readonly string[]): string {
  const { code } = error as { code?: unknown }
  const known = Object.keys(OPTIONS)
  const unknown = args
    .map((each) => /^--?([A-Za-z][\w-]*)/.exec(each)?.[1])
    .find((name) => name && name.length > 1 && !known.includes(name))
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && unknown) return `\`--${unknown.slice(0, 20)}\` is not an option`
  return 'The options cannot be read: one is not known, or has no value'
}
