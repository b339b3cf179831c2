import { type ProxyKind, type RunningProxy, startProxy } from './proxy.js'

export const nginx: ProxyKind = {
  name: 'nginx',
  program: '/usr/sbin/nginx',
  args: (config, folder) => ['-c', config, '-p', folder, '-e', 'stderr', '-g', 'error_log stderr notice;'],
  // It listens before it starts those who answer.
  isReady: (log) => log.includes('start worker process '),
}

/** In front of one server, in Debian's stock configuration but for `location`, lines for its one location. */
export function startStockNginx(upstream: number, location = ''): Promise<RunningProxy> {
  return startProxy(nginx, 'nginx-stock.conf', { upstream, location })
}
