import { apache, caddy, haproxy, nginx, varnish } from './kinds.js'
import { HEARTBEAT_MS, type Verdicts } from './measure.js'
import type { PaddingVerdicts } from './padding.js'
import type { ProxyKind, Values } from './proxy.js'

/** One way to put a proxy in front of a server, and what is to be seen through it. */
export interface SetUp {
  readonly kind: ProxyKind
  readonly name: string
  /** The file in `conf`, without its extension. */
  readonly site: string
  readonly values?: Values
  readonly isHttp2?: boolean
  /** Of the stream that stays idle. Default: `HEARTBEAT_MS`, well below the proxy's limit. */
  readonly heartbeatMs?: number
  readonly expected: Verdicts
}

/** What one proxy does not have. */
export interface Absent {
  readonly kind: ProxyKind
  readonly name: string
  readonly reason: string
}

const GOOD: Verdicts = {
  head: 'prompt',
  first: 'prompt',
  events: 'prompt',
  packed: 'no',
  idle: 'kept',
  leaving: 'noticed',
  post: 'ok',
}
const HELD: Verdicts = { ...GOOD, head: 'held', first: 'held', events: 'held', idle: 'kept, unseen' }
/** No heartbeat comes in time. */
const SILENT_MS = 60_000

const STOCK = 'stock'
const RECOMMENDED = 'recommended'
const GZIP = 'gzip for all types'
const DEAF = 'hint ignored'
const LOST = 'gzip, `no-transform` lost before it'
const TWO_HOPS = 'two hops'
const HTTP2 = 'HTTP/2 in front'
const SHORT = 'limit below the heartbeat'

export const setUps: readonly (SetUp | Absent)[] = [
  ...of(nginx, {
    [STOCK]: { site: 'stock' },
    [RECOMMENDED]: { site: 'recommended' },
    [GZIP]: { site: 'gzip', differs: { packed: 'gzip' } },
    [DEAF]: { site: 'deaf', differs: HELD },
    [`${DEAF}, ${GZIP}`]: { site: 'deaf-gzip', differs: { ...HELD, packed: 'gzip' } },
    [`${DEAF}, HTTP/1.1 to the server`]: { site: 'deaf-chunked' },
    [`${DEAF} for all sites, this one recommended`]: {
      site: 'recommended',
      values: { forAll: 'proxy_ignore_headers X-Accel-Buffering;' },
    },
    [TWO_HOPS]: { site: 'two-hops', differs: HELD },
    [`${TWO_HOPS}, the inner one recommended`]: { site: 'two-hops-passing' },
    [HTTP2]: { site: 'http2', isHttp2: true },
    [SHORT]: { site: 'stock', heartbeatMs: SILENT_MS, differs: { idle: 'cut' } },
  }),
  ...of(haproxy, {
    [STOCK]: { site: 'stock', differs: { events: '200 ms late' } },
    [RECOMMENDED]: { site: 'recommended' },
    [GZIP]: { site: 'gzip' },
    [LOST]: {
      site: 'deaf',
      differs: { first: 'held', events: 'with the next', packed: 'gzip' },
    },
    [TWO_HOPS]: 'It keeps no hint to itself: a second hop is as the first.',
    [HTTP2]: { site: 'http2', isHttp2: true },
    [SHORT]: { site: 'recommended', heartbeatMs: SILENT_MS, differs: { idle: 'cut' } },
  }),
  ...of(caddy, {
    [STOCK]: { site: 'stock' },
    [RECOMMENDED]: { site: 'recommended' },
    'gzip as it comes': { site: 'gzip' },
    'flush_interval -1': { site: 'flush-interval' },
    [`${DEAF}: ${GZIP}`]: {
      site: 'deaf',
      differs: { first: 'held', events: 'held', packed: 'gzip', idle: 'kept, unseen' },
    },
    [TWO_HOPS]: 'It keeps no hint to itself: a second hop is as the first.',
    [HTTP2]: { site: 'http2', isHttp2: true },
    'stock, without a heartbeat': { site: 'stock', heartbeatMs: SILENT_MS },
    [SHORT]: { site: 'idle', heartbeatMs: SILENT_MS, differs: { idle: 'cut' } },
  }),
  ...of(apache, {
    [STOCK]: { site: 'stock' },
    [RECOMMENDED]: { site: 'recommended' },
    [GZIP]: { site: 'gzip', differs: { packed: 'gzip' } },
    [DEAF]: 'It looks at no hint, and flushes when nothing more has come.',
    [TWO_HOPS]: 'It keeps no hint to itself: a second hop is as the first.',
    [HTTP2]: { site: 'http2', isHttp2: true },
    [SHORT]: { site: 'recommended', heartbeatMs: SILENT_MS, differs: { idle: 'cut' } },
  }),
  ...of(varnish, {
    [STOCK]: { site: 'stock' },
    [RECOMMENDED]: { site: 'recommended' },
    [`${DEAF}: ${GZIP}`]: {
      site: 'gzip',
      differs: { first: 'held', events: 'held', packed: 'gzip', idle: 'kept, unseen', leaving: 'unnoticed' },
    },
    [TWO_HOPS]: 'It keeps no hint to itself: a second hop is as the first.',
    [HTTP2]: { site: 'http2', isHttp2: true },
    [SHORT]: { site: 'recommended', heartbeatMs: SILENT_MS, differs: { idle: 'cut' } },
  }),
]

/** Padding where the hint is ignored. */
export interface Padding {
  readonly kind: ProxyKind
  readonly name: string
  readonly site: string
  readonly padBytes: number
  readonly expected: PaddingVerdicts
}

const NOTHING: PaddingVerdicts = { head: 'held', ready: 'held', event: 'held' }
const HEAD_ONLY: PaddingVerdicts = { ...NOTHING, head: 'prompt' }
const BY_HEARTBEATS: PaddingVerdicts = { ...HEAD_ONLY, event: 'with a heartbeat' }

export const paddings: readonly Padding[] = [
  { kind: nginx, name: DEAF, site: 'deaf', padBytes: 0, expected: NOTHING },
  { kind: nginx, name: DEAF, site: 'deaf', padBytes: 2_048, expected: { ...NOTHING, event: 'with a heartbeat' } },
  { kind: nginx, name: DEAF, site: 'deaf', padBytes: 4_096, expected: BY_HEARTBEATS },
  { kind: nginx, name: DEAF, site: 'deaf', padBytes: 8_192, expected: BY_HEARTBEATS },
  { kind: nginx, name: TWO_HOPS, site: 'two-hops', padBytes: 4_096, expected: BY_HEARTBEATS },
  { kind: nginx, name: `${DEAF}, ${GZIP}`, site: 'deaf-gzip', padBytes: 8_192, expected: NOTHING },
  { kind: haproxy, name: LOST, site: 'deaf', padBytes: 8_192, expected: BY_HEARTBEATS },
  {
    kind: caddy,
    name: 'gzip as it comes',
    site: 'gzip',
    padBytes: 0,
    expected: { head: 'prompt', ready: 'prompt', event: 'prompt' },
  },
  { kind: caddy, name: 'gzip as it comes', site: 'gzip', padBytes: 4_096, expected: HEAD_ONLY },
  {
    kind: caddy,
    name: RECOMMENDED,
    site: 'recommended',
    padBytes: 4_096,
    expected: { head: 'prompt', ready: 'prompt', event: 'prompt' },
  },
  { kind: caddy, name: `${DEAF}: ${GZIP}`, site: 'deaf', padBytes: 8_192, expected: HEAD_ONLY },
  { kind: varnish, name: `${DEAF}: ${GZIP}`, site: 'gzip', padBytes: 8_192, expected: HEAD_ONLY },
]

type Given = Pick<SetUp, 'site' | 'values' | 'isHttp2' | 'heartbeatMs'> & { readonly differs?: Partial<Verdicts> }

function of(kind: ProxyKind, given: Readonly<Record<string, Given | string>>): (SetUp | Absent)[] {
  return Object.entries(given).map(([name, what]) => {
    if (typeof what === 'string') return { kind, name, reason: what }
    const { differs, ...rest } = what
    return { kind, name, heartbeatMs: HEARTBEAT_MS, ...rest, expected: { ...GOOD, ...differs } }
  })
}
