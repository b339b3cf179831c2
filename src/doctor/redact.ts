/** What stands for a secret. */
export const HIDDEN = '***'

/** An address that can be shown: without user, password and fragment, and without the values of its query. */
export function redactUrl(address: string | URL): string {
  const url = new URL(address)
  const names = url.search
    .slice(1)
    .split('&')
    .filter((part) => part !== '')
    // Without `=`, the whole part may be the secret.
    .map((part) => (part.includes('=') ? `${part.slice(0, part.indexOf('='))}=${HIDDEN}` : HIDDEN))
  return `${url.protocol}//${url.host}${url.pathname}${names.length > 0 ? `?${names.join('&')}` : ''}`
}

/** Shorter values would be found everywhere by chance. */
const MIN_SECRET = 3

/** Removes from text of the server's what the user passed in: an error page may repeat a token. */
export function redactor(url: URL, headers: Readonly<Record<string, string>>): (text: string) => string {
  const secrets = new Set<string>()
  const add = (value: string) => {
    for (const each of [value, encodeURIComponent(value), ...decoded(value)]) {
      if (each.length >= MIN_SECRET) secrets.add(each)
    }
  }
  add(url.username)
  add(url.password)
  for (const part of url.search.slice(1).split('&')) add(part.slice(part.indexOf('=') + 1))
  for (const value of url.searchParams.values()) add(value)
  for (const value of Object.values(headers)) {
    add(value)
    // `Bearer token`, `a=1; b=2`
    for (const part of value.split(/[\s;,]+/)) {
      add(part)
      if (part.includes('=')) add(part.slice(part.indexOf('=') + 1))
    }
  }
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length)
  return (text) => longestFirst.reduce((clean, secret) => clean.replaceAll(secret, HIDDEN), text)
}

function decoded(value: string): string[] {
  try {
    return [decodeURIComponent(value)]
  } catch {
    return []
  }
}

/** Fields whose values tell about the path and hold no secret. */
const TELLING = new Set([
  'accept-ranges',
  'access-control-allow-origin',
  'age',
  'allow',
  'alt-svc',
  'cache-control',
  'cf-cache-status',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'keep-alive',
  'proxy-status',
  'retry-after',
  'server',
  'surrogate-control',
  'transfer-encoding',
  'vary',
  'via',
  'x-accel-buffering',
  'x-cache',
  'x-cache-hits',
  'x-cache-status',
  'x-content-type-options',
  'x-powered-by',
  'x-proxy-cache',
  'x-served-by',
  'x-vercel-cache',
])

/** The value of a response's field as a trace keeps it. */
export function keptValue(name: string, value: string, clean: (text: string) => string): string {
  // The name of a cookie tells who set it.
  if (name.toLowerCase() === 'set-cookie') return `${clean(value.split('=', 1)[0] ?? '').slice(0, 40)}=${HIDDEN}`
  return TELLING.has(name.toLowerCase()) ? clean(value).slice(0, 200) : '…'
}
