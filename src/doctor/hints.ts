import type { Finding } from './diagnosis.js'
import type { Product } from './recognise.js'
import type { Seen } from './seen.js'
import { fields } from './trace.js'

/** An nginx that heeds the header removes it, also one that is hidden behind the name of a CDN or a platform. */
const MAY_BE_NGINX: readonly Product[] = [
  'nginx',
  'nginx-proxy-manager',
  'cloudflare',
  'cloudfront',
  'fastly',
  'google',
  'heroku',
  'railway',
  'fly',
  'vercel',
]

/** Which hints the origin sends (or this library would) that did not arrive. */
export function lostHints({ trace, origin, proxies }: Seen): { lost: string[]; isConsumed: boolean } {
  const isOurs = trace.frames.some(({ kind }) => kind === 'ready')
  const sent = (name: string, what: RegExp) => (origin ? what.test(fields(origin, name)) : isOurs)
  const isLost = (name: string, what: RegExp) => sent(name, what) && !what.test(fields(trace, name))
  const noTransform = isLost('cache-control', /\bno-transform\b/i)
  const accel = isLost('x-accel-buffering', /\bno\b/i)
  const isConsumed =
    accel && !noTransform && (origin === undefined || proxies.some((each) => MAY_BE_NGINX.includes(each)))
  return {
    lost: [...(noTransform ? ['cache-control: no-transform'] : []), ...(accel ? ['x-accel-buffering: no'] : [])],
    isConsumed,
  }
}

/** The hints against buffering are lost on a path that is prompt without them. */
export function headersStripped(seen: Seen): Finding | undefined {
  const { lost, isConsumed } = lostHints(seen)
  if (lost.length === 0 || isConsumed) return undefined
  return {
    verdict: 'headers-stripped',
    outcome: 'problem',
    line: `headers stripped: ${lost.join(', ')}`,
    reason:
      'Events come at once, yet the hints that ask for it are gone: the next hop or the next change of the configuration may hold or compress the stream.',
    where: seen.origin ? 'proxy' : 'unknown',
    evidence: [
      `not in the head: ${lost.join(', ')}`,
      seen.origin
        ? 'the origin sends them'
        : 'the application sends `stream:ready`, and with it, by default, these hints',
    ],
  }
}
