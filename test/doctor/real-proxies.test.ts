import { describe, expect, test } from 'vitest'
import type { Verdict } from '../../src/doctor/diagnosis.js'
import { examine } from '../../src/doctor/examine.js'
import { apache, caddy, haproxy, nginx, varnish } from '../proxies/kinds.js'
import { type ProxyKind, skipWithout, startProxy } from '../proxies/proxy.js'
import { serveHub } from './paths.js'

interface Row {
  readonly kind: ProxyKind
  /** The file in `test/proxies/conf`. */
  readonly site: string
  readonly verdict: Verdict
  /** Its limit on silence; the stream is then silent for longer. */
  readonly idle?: number
  /** The application is not there. */
  readonly isDown?: boolean
}

const rows: readonly Row[] = [
  { kind: nginx, site: 'stock', verdict: 'ok' },
  { kind: nginx, site: 'recommended', verdict: 'ok' },
  { kind: nginx, site: 'gzip', verdict: 'compressed' },
  { kind: nginx, site: 'deaf', verdict: 'buffered-by-proxy' },
  { kind: nginx, site: 'two-hops', verdict: 'buffered-by-proxy' },
  { kind: nginx, site: 'two-hops-passing', verdict: 'ok' },
  { kind: nginx, site: 'stock', idle: 1, verdict: 'cut-when-idle' },
  { kind: nginx, site: 'stock', isDown: true, verdict: 'upstream-failed' },
  { kind: haproxy, site: 'stock', verdict: 'ok' },
  { kind: haproxy, site: 'deaf', verdict: 'compressed' },
  { kind: haproxy, site: 'recommended', idle: 1, verdict: 'cut-when-idle' },
  { kind: caddy, site: 'stock', verdict: 'ok' },
  { kind: caddy, site: 'deaf', verdict: 'compressed' },
  { kind: apache, site: 'stock', verdict: 'ok' },
  { kind: apache, site: 'recommended', idle: 1, verdict: 'cut-when-idle' },
  { kind: varnish, site: 'stock', verdict: 'ok' },
  { kind: varnish, site: 'gzip', verdict: 'compressed' },
]

const SILENT_MS = 60_000

// Real time passes in these: they share it. More than one try, for a machine that is busy delays streams as well.
describe.concurrent('through a real proxy, beside its origin', { retry: 2 }, () => {
  for (const { kind, site, idle, isDown, verdict } of rows) {
    const what = `${kind.name}, ${site}${idle ? `, cut after ${idle} s of silence` : ''}${isDown ? ', without an application' : ''}`
    test(`${what}: ${verdict}`, async (context) => {
      skipWithout(kind, context)
      const app = await serveHub(idle ? SILENT_MS : undefined)
      if (isDown) await app[Symbol.asyncDispose]()
      try {
        await using proxy = await startProxy(kind, site, { upstream: app.port, ...(idle && { idle }) })
        const isHeld = verdict === 'buffered-by-proxy' || verdict === 'compressed'
        const { diagnosis } = await examine(`${proxy.url}/events`, app.url, isHeld ? { watchMs: 3_000 } : {})
        expect(diagnosis).toMatchObject({
          verdict,
          where: verdict === 'ok' ? 'nowhere' : isDown ? 'application' : 'proxy',
        })
      } finally {
        if (!isDown) await app[Symbol.asyncDispose]()
      }
    })
  }
})
