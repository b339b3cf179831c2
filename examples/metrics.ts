// Metrics for Prometheus: gauges from hub.stats(), counters and a histogram from the diagnostics channels.
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { connect } from 'steady-sse/client'
import { memoryStore } from 'steady-sse/memory'
import { sse } from 'steady-sse/node'
import { createHub, type DiagnosticMessages } from 'steady-sse/server'

const hub = createHub({ store: memoryStore(), retryMs: [100, 200] })
const registry = new Registry()

const metric = (name: string, help: string) => ({ name: `sse_${name}`, help, registers: [registry] })
const connections = new Gauge(metric('connections', 'Open now.'))
const streams = new Gauge(metric('streams', 'Streams with readers now.'))
// Labels have few values each: never the name of a stream, or the id of a connection.
const gaps = new Counter({ ...metric('gaps_total', 'Gaps announced.'), labelNames: ['reason'] })
const replayed = new Counter(metric('replayed_events_total', 'Stored events at the start of connections.'))
const published = new Counter(metric('published_events_total', 'Events that the store has.'))
const skipped = new Counter(metric('heartbeats_skipped_total', 'Heartbeats due while a write was pending.'))
const timeouts = new Counter(metric('write_timeouts_total', 'Connections cut for a client that took nothing.'))
const buckets = [1, 10, 60, 600, 3_600]
const lasted = new Histogram({ ...metric('connection_seconds', 'How long.'), labelNames: ['reason'], buckets })

on('steady-sse:gap', ({ reason }) => gaps.inc({ reason }))
on('steady-sse:replay', ({ count }) => replayed.inc(count))
on('steady-sse:publish', (message) => published.inc(message.published.length))
on('steady-sse:heartbeat:skip', () => skipped.inc())
on('steady-sse:write-timeout', () => timeouts.inc())
on('steady-sse:connection:close', ({ reason, durationMs }) => lasted.observe({ reason }, durationMs / 1_000))

function on<N extends keyof DiagnosticMessages>(name: N, listener: (message: DiagnosticMessages[N]) => void) {
  subscribe(name, (message) => listener(message as DiagnosticMessages[N]))
}

const news = sse(hub, { stream: () => 'news', from: 'earliest' })
const server = createServer(async (request, response) => {
  if (request.url !== '/metrics') return news(request, response)
  const stats = hub.stats()
  connections.set(stats.connections)
  streams.set(stats.streams)
  response.setHeader('content-type', registry.contentType).end(await registry.metrics())
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

await hub.publish('news', [{ data: 'one' }, { data: 'two' }])
for await (const item of connect(`${url}/news`)) {
  if (item.type === 'gap' || item.data !== 'two') continue
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n').filter((line) => line.startsWith('sse_'))
  console.log(lines.join('\n'))
  const expected = ['sse_connections 1', 'sse_streams 1', 'sse_replayed_events_total 2', 'sse_published_events_total 2']
  assert.deepEqual(lines.slice(0, 4), expected)
  break
}
await hub.close()
server.close()
