import type { ProxyKind } from './proxy.js'

export const nginx: ProxyKind = {
  name: 'nginx',
  folder: 'nginx',
  extension: '.conf',
  framed: true,
  package: 'nginx',
  program: '/usr/sbin/nginx',
  versionArgs: ['-v'],
  args: ({ config, folder }) => ['-c', config, '-p', folder, '-e', 'stderr', '-g', 'error_log stderr notice;'],
  // It listens before it starts those who answer.
  isReady: (log) => log.includes('start worker process '),
}

export const haproxy: ProxyKind = {
  name: 'HAProxy',
  folder: 'haproxy',
  extension: '.cfg',
  framed: true,
  package: 'haproxy',
  program: '/usr/sbin/haproxy',
  versionArgs: ['-v'],
  args: ({ config }) => ['-db', '-f', config],
}

export const caddy: ProxyKind = {
  name: 'Caddy',
  folder: 'caddy',
  extension: '.caddyfile',
  framed: true,
  package: 'caddy',
  program: '/usr/bin/caddy',
  versionArgs: ['version'],
  listen: (port) => `http://127.0.0.1:${port}`,
  args: ({ config }) => ['run', '--adapter', 'caddyfile', '--config', config],
}

export const apache: ProxyKind = {
  name: 'Apache httpd',
  folder: 'apache',
  extension: '.conf',
  framed: true,
  package: 'apache2',
  program: '/usr/sbin/apache2',
  versionArgs: ['-v'],
  args: ({ config }) => ['-D', 'FOREGROUND', '-f', config],
}

export const varnish: ProxyKind = {
  name: 'Varnish',
  folder: 'varnish',
  extension: '.vcl',
  framed: false,
  package: 'varnish',
  program: '/usr/sbin/varnishd',
  versionArgs: ['-V'],
  args: ({ config, folder, port, idle }) => [
    ...['-F', '-j', 'none', '-n', `${folder}/work`, '-a', `127.0.0.1:${port}`, '-f', config, '-s', 'malloc,16m'],
    // 60s where nothing is said; tests do not wait as long.
    ...['-p', `between_bytes_timeout=${idle}`, '-p', 'feature=+http2', '-p', 'vsl_space=2M'],
  ],
}
