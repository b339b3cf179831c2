import type { Finding, Mend, Verdict } from './diagnosis.js'
import type { Product } from './recognise.js'

const NGINX_BUFFERING = [
  'location /events {',
  '  proxy_pass http://app;',
  '  proxy_http_version 1.1;',
  '  proxy_set_header Connection "";',
  '  proxy_buffering off;          # or leave it on, and do not ignore X-Accel-Buffering',
  '  proxy_cache off;',
  '  gzip off;',
  '  proxy_read_timeout 1h;        # above the heartbeat is enough',
  '}',
]

const HOLDS: Partial<Record<Product, readonly string[]>> = {
  nginx: NGINX_BUFFERING,
  'nginx-proxy-manager': [
    '# Proxy host → Advanced → Custom Nginx Configuration',
    'proxy_buffering off;',
    'proxy_cache off;',
    'gzip off;',
    'proxy_read_timeout 1h;',
  ],
  haproxy: [
    'backend app',
    '  option http-no-delay',
    '  no option http-buffer-request',
    '  # and no `compression` for text/event-stream',
  ],
  caddy: ['reverse_proxy app:3000 {', '  flush_interval -1', '}', '# `encode` must not name text/event-stream'],
  traefik: [
    'http:',
    '  services:',
    '    app:',
    '      loadBalancer:',
    '        responseForwarding:',
    '          flushInterval: 1ms',
    '# and neither the `buffering` nor the `compress` middleware on this router',
  ],
  apache: [
    '<Location "/events">',
    '  ProxyPass "http://127.0.0.1:3000/events" flushpackets=on',
    '  SetEnv no-gzip 1',
    '  SetEnv proxy-sendchunked 1',
    '</Location>',
  ],
  varnish: [
    'sub vcl_backend_response {',
    '  if (beresp.http.Content-Type ~ "text/event-stream") {',
    '    set beresp.do_stream = true;',
    '    set beresp.do_gzip = false;',
    '    set beresp.do_esi = false;',
    '    set beresp.uncacheable = true;',
    '  }',
    '}',
  ],
  envoy: ['# no `buffer` and no `compressor` filter on this route, and', 'route: { timeout: 0s, idle_timeout: 1h }'],
  cloudflare: [
    '# Rules → Configuration or Cache Rules, for the path of the stream:',
    '# Cache eligibility: bypass.  Compression: off.  Rocket Loader, Email Obfuscation: off.',
    '# Quick tunnels (trycloudflare.com) hold GET streams: use a named tunnel.',
  ],
  cloudfront: [
    '# Behaviour for the path of the stream:',
    '# Cache policy: CachingDisabled.  Compress objects automatically: No.',
  ],
  express: [
    "app.use(compression({ filter: (req, res) => !/event-stream/.test(String(res.getHeader('content-type'))) && compression.filter(req, res) }))",
  ],
  next: ['// next.config.js', 'module.exports = { compress: false }'],
}

const IDLE: Partial<Record<Product, readonly string[]>> = {
  nginx: ['proxy_read_timeout 1h;', 'send_timeout 1h;'],
  'nginx-proxy-manager': ['# Proxy host → Advanced', 'proxy_read_timeout 1h;'],
  haproxy: ['defaults', '  timeout client 1h', '  timeout server 1h'],
  caddy: ['reverse_proxy app:3000 {', '  transport http {', '    read_timeout 1h', '  }', '}'],
  traefik: [
    'entryPoints:',
    '  web:',
    '    transport:',
    '      respondingTimeouts:',
    '        idleTimeout: 1h',
    '        writeTimeout: 0s',
  ],
  apache: ['ProxyTimeout 3600', 'Timeout 3600'],
  varnish: ['backend app {', '  .host = "127.0.0.1";', '  .between_bytes_timeout = 1h;', '}'],
  envoy: ['route: { timeout: 0s, idle_timeout: 1h }'],
  cloudflare: ['# Its limit of about 100 s without a byte is fixed on most plans: the heartbeat must be well below.'],
  'aws-alb': [
    'aws elbv2 modify-load-balancer-attributes --load-balancer-arn … \\',
    '  --attributes Key=idle_timeout.timeout_seconds,Value=4000',
  ],
  cloudfront: ['# Origin → Response timeout: at most 60 s without a request for more. The heartbeat must be below.'],
  heroku: ['# Its limit of 55 s without a byte is fixed: the heartbeat must be below.'],
  fly: ['# Its limit of about 60 s without a byte is fixed: the heartbeat must be below.'],
  railway: [
    '# Requests end after about 5 minutes: let the hub end them in order before',
    'createHub({ store, maxAgeMs: 240_000 })',
  ],
  vercel: [
    '// A function ends at its maxDuration: let the hub end the stream in order before',
    'createHub({ store, maxAgeMs: 50_000 })',
  ],
}

const HEARTBEAT: Mend = {
  title: 'In the application',
  lines: ['createHub({ store, heartbeatMs: 15_000 })    // at most half of the smallest idle timeout on the path'],
}

const PADDED: Mend = {
  title: 'In the application, where the proxy cannot be changed',
  lines: [
    'createHub({ store, padBytes: 4_096 })        // fills small buffers; a proxy that keeps whole responses needs poll mode',
  ],
}

const HINTS: Mend = {
  title: 'In the application',
  lines: [
    'content-type: text/event-stream',
    'cache-control: no-cache, no-transform',
    'x-accel-buffering: no',
    '# flush the head, write a first frame at once, and flush after each event behind a compressing middleware',
  ],
}

const STRIPPED: Partial<Record<Product, readonly string[]>> = {
  nginx: [
    '# in the first nginx of two, so that the next one sees it again:',
    'proxy_pass_header X-Accel-Buffering;',
    '# and no proxy_hide_header or add_header Cache-Control here',
  ],
  haproxy: ['# remove what deletes or sets these: http-response del-header / set-header'],
  caddy: ['# remove what deletes or sets these: header, header_down'],
  apache: ['# remove what deletes or sets these: Header unset, Header set Cache-Control, ExpiresActive'],
  varnish: ['# remove from vcl_backend_response and vcl_deliver: unset resp.http.Cache-Control'],
}

const CACHE: Partial<Record<Product, readonly string[]>> = {
  nginx: ['proxy_cache off;'],
  varnish: ['sub vcl_recv {', '  if (req.url ~ "^/events") { return (pass); }', '}'],
  cloudflare: ['# Cache Rules → for the path of the stream: bypass cache'],
  cloudfront: ['# Behaviour for the path of the stream: cache policy CachingDisabled'],
}

const TABLES: Partial<Record<Verdict, Partial<Record<Product, readonly string[]>>>> = {
  'buffered-by-proxy': HOLDS,
  buffered: HOLDS,
  compressed: HOLDS,
  'head-late': HOLDS,
  'headers-stripped': STRIPPED,
  cached: CACHE,
  'cut-when-idle': IDLE,
  cut: IDLE,
}

/** What mends it: for each product that was recognised, else for the most likely one, and in the application. */
export function mendFor(
  { verdict, where }: Finding,
  recognised: readonly Product[],
  names: Record<Product, string>,
): Mend[] {
  const table = TABLES[verdict]
  const found: Mend[] = []
  if (table && where !== 'application') {
    const known = recognised.filter((each) => table[each])
    found.push(...known.map((each) => ({ title: names[each], lines: table[each] ?? [] })))
    if (known.length === 0 && table.nginx) {
      found.push({
        title: 'If it is an nginx (no proxy was recognised; docs/proxies.md has the others)',
        lines: table.nginx,
      })
    }
  }
  if (verdict === 'compressed' && where === 'application') {
    found.push({ title: 'With Express `compression`', lines: HOLDS.express ?? [] })
  }
  if (verdict === 'cut-when-idle') found.push(HEARTBEAT)
  if (verdict === 'buffered-by-proxy' || verdict === 'buffered') found.push(PADDED)
  if (verdict === 'buffered-by-application' || (verdict === 'head-late' && where !== 'proxy')) found.push(HINTS)
  if (verdict === 'headers-stripped' || (verdict === 'compressed' && where !== 'application')) found.push(HINTS)
  return found
}
