import { field, fields, type Trace } from './trace.js'

/** What stands on a path and says so. */
export type Product =
  | 'nginx'
  | 'nginx-proxy-manager'
  | 'haproxy'
  | 'caddy'
  | 'traefik'
  | 'apache'
  | 'varnish'
  | 'envoy'
  | 'cloudflare'
  | 'aws-alb'
  | 'cloudfront'
  | 'fastly'
  | 'google'
  | 'heroku'
  | 'railway'
  | 'fly'
  | 'vercel'
  | 'next'
  | 'express'

/** As people write it. */
export const NAMES: Record<Product, string> = {
  nginx: 'nginx',
  'nginx-proxy-manager': 'Nginx Proxy Manager',
  haproxy: 'HAProxy',
  caddy: 'Caddy',
  traefik: 'Traefik',
  apache: 'Apache httpd',
  varnish: 'Varnish',
  envoy: 'Envoy',
  cloudflare: 'Cloudflare',
  'aws-alb': 'AWS ALB',
  cloudfront: 'CloudFront',
  fastly: 'Fastly',
  google: 'Google Cloud load balancing',
  heroku: 'Heroku',
  railway: 'Railway',
  fly: 'Fly.io',
  vercel: 'Vercel',
  next: 'Next.js',
  express: 'Express',
}

/** These are what is proxied, not what proxies. */
const APPLICATIONS: readonly Product[] = ['express', 'next']

type Sign = readonly [product: Product, is: (trace: Trace) => boolean]

const has = (name: string) => (trace: Trace) => field(trace, name) !== undefined
const says = (name: string, what: RegExp) => (trace: Trace) => what.test(fields(trace, name))
const signs = (by: string) => (trace: Trace) => trace.page?.by === by

/** From the client inwards, as far as that can be guessed. */
const SIGNS: readonly Sign[] = [
  ['cloudflare', has('cf-ray')],
  ['cloudflare', says('server', /^cloudflare/i)],
  ['cloudfront', has('x-amz-cf-id')],
  ['cloudfront', signs('cloudfront')],
  ['fastly', (trace) => says('x-served-by', /^cache-/)(trace)],
  ['vercel', has('x-vercel-id')],
  ['fly', has('fly-request-id')],
  ['fly', says('server', /^Fly\//)],
  ['railway', has('x-railway-request-id')],
  ['railway', says('server', /^railway/i)],
  ['heroku', says('via', /\bvegur|heroku/i)],
  ['google', says('via', /\bgoogle\b/i)],
  ['aws-alb', says('server', /^awselb/i)],
  ['aws-alb', says('set-cookie', /^AWSALB/)],
  // Its pages and its header for the name of the host; on its own, openresty is an nginx.
  ['nginx-proxy-manager', (trace) => says('server', /^openresty/i)(trace) && has('x-served-by')(trace)],
  ['nginx', says('server', /^(nginx|openresty)/i)],
  ['nginx', signs('nginx')],
  ['nginx', signs('openresty')],
  ['varnish', has('x-varnish')],
  ['varnish', says('via', /varnish/i)],
  ['varnish', signs('varnish')],
  ['caddy', says('server', /^Caddy/i)],
  ['caddy', says('via', /\bCaddy\b/i)],
  ['haproxy', signs('haproxy')],
  ['traefik', says('server', /traefik/i)],
  ['envoy', says('server', /envoy/i)],
  ['envoy', has('x-envoy-upstream-service-time')],
  ['envoy', signs('envoy')],
  ['apache', says('server', /^Apache/i)],
  ['apache', signs('apache')],
  ['next', says('x-powered-by', /Next\.js/i)],
  ['express', says('x-powered-by', /Express/i)],
]

/** All that a response tells about who handled it. */
export function recognise(trace: Trace): Product[] {
  return [...new Set(SIGNS.filter(([, is]) => is(trace)).map(([product]) => product))]
}

/** Those of the path that are not of the origin itself. */
export function proxiesOn(trace: Trace, origin: Trace | undefined): Product[] {
  const own = origin ? recognise(origin) : []
  return recognise(trace).filter((each) => !own.includes(each) && !APPLICATIONS.includes(each))
}
