import { show } from '../protocol/options.js'

/** What is wrong is said without repeating the value: it may hold a secret. */
export function addressOf(name: string, value: unknown): URL {
  const text = value instanceof URL ? value.href : value
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  const got = url ? `one of ${url.protocol}` : typeof text === 'string' ? 'a text that is no address' : show(value)
  throw new TypeError(`Expected \`${name}\` to be an address that begins with http:// or https://, got ${got}`)
}

export function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name)) {
      throw new TypeError(
        'Expected each name in `headers` to be a token, as `authorization`, got one with other characters',
      )
    }
    if (typeof value !== 'string' || /[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      throw new TypeError(`Expected \`headers\` to hold text for ${JSON.stringify(name)} that a header can carry`)
    }
  }
  return headers
}
