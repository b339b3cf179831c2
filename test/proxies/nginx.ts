import { nginx } from './kinds.js'
import { type RunningProxy, startProxy, type Values } from './proxy.js'

/** The files of `conf/nginx` that stand in front of one server. */
export type NginxSite =
  | 'stock'
  | 'recommended'
  | 'gzip'
  /** Ignores every hint: holds the head and the body until the end. */
  | 'deaf'
  | 'deaf-chunked'
  | 'deaf-gzip'
  | 'two-hops'
  | 'two-hops-passing'
  | 'http2'

/** Puts an nginx in front of the server at a port of this machine. The other proxies: `startProxy`, with one of `kinds`. */
export function startNginx(upstream: number, site: NginxSite = 'stock', values: Values = {}): Promise<RunningProxy> {
  return startProxy(nginx, site, { ...values, upstream })
}
